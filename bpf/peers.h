/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * What the tracepoint backend remembers of a thread.
 */

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
