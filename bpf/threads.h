/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Where a struct thread is kept: in the thread itself, or by its id where the
 * kernel has no such storage, or not for all kinds of programs.
 */

#if defined(TASK_STORAGE) && !defined(THREADS_IN_HASH)
BPF_TASK_STORAGE(bwtop_threads, struct thread);

static __always_inline struct thread *thread_of(bool create)
{
	return bwtop_threads.task_storage_get(bpf_get_current_task_btf(), 0,
			create ? BPF_LOCAL_STORAGE_GET_F_CREATE : 0);
}

static __always_inline void forget_thread(void)
{
	/* The kernel does, with the thread's storage. */
}
#else
BPF_HASH(bwtop_threads, u64, struct thread, MAX_PROCESSES);
BPF_ARRAY(bwtop_blank_thread, struct thread, 1);

static __always_inline struct thread *thread_of(bool create)
{
	u64 id = bpf_get_current_pid_tgid();
	struct thread *thread = bwtop_threads.lookup(&id);
	struct thread *blank;
	int zero = 0;

	if (thread || !create)
		return thread;
	blank = bwtop_blank_thread.lookup(&zero);
	if (blank)
		bwtop_threads.insert(&id, blank);
	return bwtop_threads.lookup(&id);
}

static __always_inline void forget_thread(void)
{
	u64 id = bpf_get_current_pid_tgid();

	bwtop_threads.delete(&id);
}
#endif
