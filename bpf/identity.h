/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Who a process is, taken at its first byte, so that one that lived for two
 * milliseconds has its name like any other.  An exec makes it another one.
 *
 * This is the slow path: it reads with bpf_probe_read_kernel(), which needs no
 * typed pointers, and it runs once per process.
 *
 * Depending on the kernel, the loader defines NO_LOOPS (before 5.3; programs are
 * limited to 4096 instructions there, too), and leaves out offsets of fields
 * that it does not find.
 */
#ifndef BWTOP_IDENTITY_H
#define BWTOP_IDENTITY_H

#include "load.h"
#include "records.h"
#include "thread_state.h"

#define EEXIST		17
#define PF_KTHREAD	0x00200000	/* include/linux/sched.h */
#define PAGE_LEN	4096
#ifdef NO_LOOPS
#define PATH_DEPTH	10
#define UNROLL		_Pragma("clang loop unroll(full)")
#else
#define PATH_DEPTH	32
#define UNROLL
#endif
#define MNT_NS_INTERNAL	((u64)-22)	/* ERR_PTR(-EINVAL), fs/mount.h */

BPF_F_TABLE("hash", struct process_key, struct process, bwtop_processes,
	    MAX_PROCESSES, PROCESSES_FLAGS);
/* A process record of zeros to insert from: it is larger than the stack. */
BPF_ARRAY(bwtop_blank, struct process, 1);
/* Those that it had no room for: each counts as lost once, unless this is full too. */
BPF_F_TABLE("hash", struct process_key, u32, bwtop_unnamed, MAX_PROCESSES, PROCESSES_FLAGS);
/* The processes of bwtop_processes that have ended; the value says nothing. */
BPF_HASH(bwtop_ended, struct process_key, u32, MAX_PROCESSES);
BPF_ARRAY(bwtop_loss, struct loss, 1);

static __always_inline struct loss *losses(void)
{
	int zero = 0;

	return bwtop_loss.lookup(&zero);
}

static __always_inline struct process_key current_process(void)
{
	u64 task = bpf_get_current_task();
	u64 leader = READ_KERNEL(u64, task, TASK_GROUP_LEADER);
	struct process_key key = {
		.start = READ_KERNEL(u64, leader, TASK_START_BOOTTIME),
		.pid = READ_KERNEL(u32, task, TASK_TGID),
		.exec = READ_KERNEL(u32, task, TASK_SELF_EXEC_ID),
	};

	return key;
}

/* Keeps the compiler from using what it knows of a value, which the verifier may not know. */
#define HIDE(value)	asm volatile("" : "+r"(value))

static __always_inline u64 at_most(u64 value, u64 limit)
{
	HIDE(value);
	return value > limit ? limit : value;
}

/* Adds a component; length is below PATH_LEN, and the mask tells the verifier. */
static __always_inline u64 path_add(char *path, u64 length, u64 name)
{
	long added;

	HIDE(length);
	length &= PATH_LEN - 1;
	added = bpf_probe_read_kernel_str(path + length, PATH_NAME_LEN, (void *)name);
	return added > 0 ? length + added : length;
}

/*
 * What d_path() does, without its locks: the path of mm->exe_file, in the
 * process's mount namespace.  It is complete only where it ends at the root of a
 * namespace (a mount that was detached ends in none), or for a memfd, which has
 * no directory, on the kernel's own mount of shmem.
 */
static __always_inline void read_exe(struct process *process, u64 mm)
{
#ifdef MOUNT_NS	/* struct mount is the kernel's own: headers do not have it */
	u64 file = READ_KERNEL(u64, mm, MM_EXE_FILE);
	u64 dentry = READ_KERNEL(u64, file, FILE_PATH_DENTRY);
	u64 mnt = READ_KERNEL(u64, file, FILE_PATH_MNT);
	u64 length = 0;
	int i;

	if (!file)
		return;
	if (!READ_KERNEL(u64, dentry, DENTRY_HASH_PPREV))
		process->flags |= PROCESS_EXE_DELETED;

	UNROLL
	for (i = 0; i < PATH_DEPTH; i++) {
		if (dentry == READ_KERNEL(u64, mnt, VFSMOUNT_ROOT)) {
			u64 mount = mnt - MOUNT_MNT;
			u64 above = READ_KERNEL(u64, mount, MOUNT_PARENT);

			if (above == mount) {
				if (READ_KERNEL(u64, mount, MOUNT_NS))
					process->flags |= PROCESS_EXE_COMPLETE;
				break;
			}
			dentry = READ_KERNEL(u64, mount, MOUNT_MOUNTPOINT);
			mnt = above + MOUNT_MNT;
		} else {
			u64 above = READ_KERNEL(u64, dentry, DENTRY_PARENT);

			length = path_add(process->exe, length,
					  READ_KERNEL(u64, dentry, DENTRY_NAME));
			if (above == dentry) {
				if (READ_KERNEL(u64, mnt - MOUNT_MNT, MOUNT_NS) ==
				    MNT_NS_INTERNAL)
					process->flags |= PROCESS_EXE_COMPLETE;
				break;
			}
			dentry = above;
		}
		if (length >= PATH_LEN)
			break;
	}
	process->exe_len = length;
#endif
}

/* The path in the v2 hierarchy, as /proc/PID/cgroup has it after "0::". */
static __always_inline void read_cgroup(struct process *process, u64 task)
{
	u64 set = READ_KERNEL(u64, task, TASK_CGROUPS);
	u64 cgroup = READ_KERNEL(u64, set, CSS_SET_DFL_CGRP);
	u64 node = READ_KERNEL(u64, cgroup, CGROUP_KN);
	u64 length = 0;
	int i;

	UNROLL
	for (i = 0; i < PATH_DEPTH && node; i++) {
		u64 above = READ_KERNEL(u64, node, KERNFS_PARENT);

		if (!above) {
			process->flags |= PROCESS_CGROUP_COMPLETE;
			break;
		}
		length = path_add(process->cgroup, length,
				  READ_KERNEL(u64, node, KERNFS_NAME));
		if (length >= PATH_LEN)
			break;
		node = above;
	}
	process->cgroup_len = length;
}

static __always_inline void read_cmdline(struct process *process, u64 mm)
{
	u64 start = READ_KERNEL(u64, mm, MM_ARG_START);
	u64 length = READ_KERNEL(u64, mm, MM_ARG_END) - start;
	u64 in_page = PAGE_LEN - (start & (PAGE_LEN - 1));

	if (length > CMDLINE_LEN + 1)	/* the last argument ends in NUL */
		process->flags |= PROCESS_CMDLINE_CUT;
	length = at_most(length, CMDLINE_LEN);
	if (bpf_probe_read_user(process->cmdline, length, (void *)start)) {
		/* The next page may be absent; this one is worth having. */
		length = at_most(at_most(length, in_page), CMDLINE_LEN);
		if (bpf_probe_read_user(process->cmdline, length, (void *)start))
			length = 0;
	}
	process->cmdline_len = length;
}

static __always_inline void read_process(struct process *process)
{
	u64 task = bpf_get_current_task();
	u64 leader = READ_KERNEL(u64, task, TASK_GROUP_LEADER);
	u64 mm = READ_KERNEL(u64, task, TASK_MM);

	process->flags = 0;
	process->exe_len = 0;
	process->cmdline_len = 0;
	process->uid = READ_KERNEL(u32, READ_KERNEL(u64, task, TASK_CRED), CRED_EUID);
	bpf_probe_read_kernel_str(process->comm, COMM_LEN,
				  (void *)(leader + TASK_COMM));
	read_cgroup(process, task);
	if (READ_KERNEL(u32, task, TASK_FLAGS) & PF_KTHREAD) {
		process->flags |= PROCESS_KTHREAD;
	} else if (mm) {
		read_cmdline(process, mm);
		read_exe(process, mm);
	}
	process->complete = 1;
}

static __always_inline void count_missed(void)
{
	struct loss *loss = losses();

	if (loss)
		__sync_fetch_and_add(&loss->missed, 1);
}

static __always_inline void count_unnamed(struct process_key *key)
{
	struct loss *loss = losses();
	u32 nothing = 0;

	if (loss && bwtop_unnamed.insert(key, &nothing) != -EEXIST)
		__sync_fetch_and_add(&loss->unnamed, 1);
}

static __always_inline void report_end(struct process_key *key)
{
	u32 nothing = 0;

	if (bwtop_processes.lookup(key))
		bwtop_ended.update(key, &nothing);
	else
		bwtop_unnamed.delete(key);
}

/* Whether all threads of the running process have entered do_exit(). */
static __always_inline bool is_exiting(void)
{
	u64 signal = READ_KERNEL(u64, bpf_get_current_task(), TASK_SIGNAL);

	return !READ_KERNEL(u32, signal, SIGNAL_LIVE);
}

/*
 * Makes sure that the running process has its record.  The one who inserts it
 * fills it; a reader that comes upon it before that finds it incomplete.
 *
 * A process may move bytes after its end was reported, as CIFS does when it
 * closes files; nobody would report the end of a record that is made then.
 */
static __always_inline void identify(struct process_key *key)
{
	int zero = 0;
	struct process *process = bwtop_blank.lookup(&zero);
	bool inserted;

	if (!process || bwtop_processes.lookup(key))
		return;
	inserted = !bwtop_processes.insert(key, process);
	process = bwtop_processes.lookup(key);
	if (!process)
		count_unnamed(key);
	if (!process || !inserted)
		return;
	read_process(process);
	if (is_exiting())
		report_end(key);
}

/* sched_process_exec(task, old_pid, bprm): in the new program. */
int bwtop_exec(u64 *ctx)
{
	struct process_key key = current_process();

	key.exec--;
	report_end(&key);
	return 0;
}

/*
 * sched_process_exit(task, …): do_exit() has already taken this thread off
 * signal->live, so zero means that the whole process is gone.
 *
 * An exec that fails after its point of no return counts itself and kills the
 * process, without an event of its own: then the program before it ends here.
 */
int bwtop_exit(u64 *ctx)
{
	struct process_key key;

	forget_thread();
	if (!is_exiting())
		return 0;
	key = current_process();
	report_end(&key);
	key.exec--;
	report_end(&key);
	return 0;
}

#endif
