/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * What the backends that hook functions remember of a thread.
 */

/* A datagram that udp_send_skb() has handed on, for the hook that has its socket. */
struct datagram {
	u64 bytes;		/* 0: none */
	struct peer peer;
	u16 local_port;
};

/* What is known of a call that has not returned yet. */
struct thread {
	u64 sent;		/* the socket whose bytes were counted inside this call */
	u64 received;
	struct datagram datagram;
#ifdef KEEPS_CALLS
	struct call calls[CALLS];
#endif
};
