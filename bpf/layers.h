/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * What UDP sends: each datagram noted as it is handed to IP, where its socket is not
 * known, and counted by the next hook around; if that one or the note is missed,
 * by those around it.
 */
#ifndef BWTOP_LAYERS_H
#define BWTOP_LAYERS_H

#include "functions.h"

/*
 * udp_send_skb(skb, fl4, cork), udp_v6_send_skb(skb, fl6, cork): one datagram
 * (or a train of segments) handed to IP, where it is really going: after
 * corking, routing and whatever cgroup programs made of its address.  The skb
 * is gone at the return, and its socket with it, so udp_sendmsg() counts.
 */
static __always_inline void note_datagram(u64 cork, const struct peer *peer, u16 local_port)
{
	struct thread *thread = thread_of(true);

	if (!thread) {
#ifdef ONE_LAYER
		count_missed();	/* no other hook counts it */
#endif
		return;
	}
	thread->datagram.bytes = LOAD(u32, cork, CORK_LENGTH) - UDP_HEADER;
	thread->datagram.peer = *peer;
	thread->datagram.local_port = local_port;
}

static __always_inline void on_udp_send_skb(const struct udp_send_skb *args, u64 result)
{
	u64 fl4 = args->flow;
	struct peer peer;

	if ((int)result)
		return;
	addr_from_v4(peer.addr, LOAD(u32, fl4, FLOWI4_DADDR));
	peer.port = bpf_ntohs(LOAD(u16, fl4, FLOWI4_DPORT));
	note_datagram(args->cork, &peer, bpf_ntohs(LOAD(u16, fl4, FLOWI4_SPORT)));
}

static __always_inline void on_udp_v6_send_skb(const struct udp_send_skb *args, u64 result)
{
	u64 fl6 = args->flow;
	struct peer peer;

	if ((int)result)
		return;
	peer.addr[0] = LOAD(u64, fl6, FLOWI6_DADDR);
	peer.addr[1] = LOAD(u64, fl6, FLOWI6_DADDR + 8);
	peer.port = bpf_ntohs(LOAD(u16, fl6, FLOWI6_DPORT));
	note_datagram(args->cork, &peer, bpf_ntohs(LOAD(u16, fl6, FLOWI6_SPORT)));
}

/*
 * Counts the datagram that this thread has handed on; false if there is none of
 * this socket.
 */
static __always_inline bool count_datagram(struct thread *thread, u64 sk,
					   const struct endpoint *end)
{
	struct peer peer;
	u64 bytes;

	if (!thread || !thread->datagram.bytes)
		return false;
	bytes = thread->datagram.bytes;
	thread->datagram.bytes = 0;
	thread->corked = 0;
	if (thread->datagram.local_port != end->local_port)
		return false;
	peer = thread->datagram.peer;
	charge(sk, end, &peer, TX, bytes);
	return true;
}

/*
 * Counts the datagram of a cork that this thread has ended, if udp_send_skb() was
 * missed: its length and, with IPv4, its peer are left in the socket.
 */
static __always_inline bool count_cork(struct thread *thread, u64 sk,
				       const struct endpoint *end)
{
	struct peer peer = {};

	if (!thread || thread->corked != sk)
		return false;
	thread->corked = 0;
	if (end->family == AF_INET) {
		addr_from_v4(peer.addr, LOAD_AS(u32, inet_sock, sk, INET_CORK_DADDR));
		peer.port = bpf_ntohs(LOAD_AS(u16, inet_sock, sk, INET_CORK_DPORT));
	}
	charge(sk, end, &peer, TX, LOAD_AS(u32, inet_sock, sk, INET_CORK_LENGTH) - UDP_HEADER);
	return true;
}

/*
 * What a UDP socket sent in a call that nobody inside it has counted: its
 * datagram, or if that was missed the whole of a cork that the call has ended, or
 * what the call says, unless it is waiting for more (corked).
 */
static __always_inline bool count_sent(struct thread *thread, u64 sk,
					   const struct endpoint *end, u64 msg, int ret)
{
	struct peer peer;

	if (count_datagram(thread, sk, end))
		return true;
	if (!UDP_BY_CALL && LOAD_AS(u32, udp_sock, sk, UDP_PENDING)) {
		if (thread)
			thread->corked = sk;
		return false;
	}
	if (ret >= 0 && count_cork(thread, sk, end))
		return true;
	if (ret <= 0 || LOAD(u32, msg, MSGHDR_FLAGS) & MSG_PROBE)
		return false;
	message_peer(&peer, msg, end);
	charge(sk, end, &peer, TX, ret);
	return true;
}

/*
 * udp_sendmsg(sk, msg, len), and udpv6_sendmsg(), which hands on to the former
 * for IPv4: what is marked then is marked for the next one outwards.
 */
static __always_inline void on_udp_sendmsg(const struct sk_sendmsg *args, u64 result)
{
	u64 sk = args->sk;
	struct thread *thread = thread_of(true);
	struct endpoint end;

	if (thread && !thread->datagram.bytes && SAME_CALL(thread->sent, sk))
		return;
	read_endpoint(&end, sk, 0);
	if (count_sent(thread, sk, &end, args->msg, result))
		mark(thread, sk, TX);
}

/*
 * udp_push_pending_frames(sk), udp_v6_push_pending_frames(sk): the end of a
 * cork, by setsockopt() too.  The mark is for a udp_sendmsg() around it.
 */
static __always_inline void on_udp_push_pending_frames(const struct udp_push *args, u64 result)
{
	u64 sk = args->sk;
	struct thread *thread = thread_of(true);
	struct endpoint end;

	read_endpoint(&end, sk, 0);
	if (count_datagram(thread, sk, &end) || (!(int)result && count_cork(thread, sk, &end)))
		mark(thread, sk, TX);
}

/*
 * udp_splice_eof(sock), udpv6_splice_eof(): splice() had announced more than came.
 * Its end of the cork may have passed the functions above by.
 */
static __always_inline void on_splice_ended(const struct udp_splice_eof *args, u64 result)
{
	u64 sk = LOAD(u64, args->sock, SOCKET_SK);
	struct endpoint end;

	if (!sk)
		return;
	read_endpoint(&end, sk, 0);
	count_datagram(thread_of(false), sk, &end);
}

#ifdef ONE_LAYER
/* No datagram was missed, and what handed none on has sent nothing. */
static __always_inline bool was_sent_inside(u64 sk, u64 msg, int ret)
{
	u16 protocol = socket_protocol(sk);
	struct endpoint end;

	if (protocol != IPPROTO_UDP && protocol != IPPROTO_UDPLITE)
		return false;
	read_endpoint(&end, sk, 0);
	if (!is_udp_socket(&end))
		return false;
	count_datagram(thread_of(false), sk, &end);
	return true;
}

static __always_inline void count_udp_sent(u64 sk, const struct endpoint *end, u64 msg, int ret)
{
}
#else
static __always_inline bool was_sent_inside(u64 sk, u64 msg, int ret)
{
	return was_counted_inside(sk, TX);
}

/* Around those: what both have missed. */
static __always_inline void count_udp_sent(u64 sk, const struct endpoint *end, u64 msg, int ret)
{
	count_sent(thread_of(false), sk, end, msg, ret);
}
#endif

/* inet_sendpage() of UDP, which makes a datagram like any other. */
static __always_inline void count_udp_page(u64 sk, const struct endpoint *end, u32 flags, int ret)
{
	count_datagram(thread_of(false), sk, end);
}

#endif
