/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * What is remembered of a thread: of the call that it is in.
 */
#ifndef BWTOP_THREAD_STATE_H
#define BWTOP_THREAD_STATE_H

#include "bcc.h"
#include "endpoint.h"

#ifdef BY_MESSAGE
/*
 * The peer that a cgroup program saw in a thread's message, for the length
 * tracepoint that follows in the same call.  kept: for the parts to come of a
 * corked datagram, whose addresses the kernel ignores.
 */
struct seen_peer {
	u64 sk;
	struct peer peer;
	bool kept;
};

struct thread {
	struct seen_peer rx;
	struct seen_peer tx;
};
#else
/* A datagram that udp_send_skb() has handed on, for the hook that has its socket. */
struct datagram {
	u64 bytes;		/* 0: none */
	struct peer peer;
	u16 local_port;
};

/* The arguments of a call that has not returned; the first is never 0, else there is none. */
struct call {
	u64 args[ARGUMENTS];
};

struct thread {
	u64 sent;		/* the socket whose bytes were counted inside this call */
	u64 received;
	struct datagram datagram;
	u64 corked;		/* the socket that keeps back what was sent */
#ifdef KEEPS_CALLS
	struct call calls[CALLS];
#endif
};

/*
 * Whether a mark (sent, received) is of this very call.  A hook that was missed
 * leaves its mark in place.  With KEEPS_CALLS marks are taken off when the outer
 * hook is entered, so one that is there is of this call, also if the outer hook's
 * entry was missed; else what tells is whether it is for the same socket.
 */
#ifdef KEEPS_CALLS
#define SAME_CALL(marked, sk)	((marked) != 0)
#else
#define SAME_CALL(marked, sk)	((marked) == (sk))
#endif
#endif

/*
 * It is kept in the thread itself, or by its id where the kernel has no such
 * storage, or not for all kinds of programs.
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

#endif
