/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Datagrams: UDP's, those that ICMP and raw IP sockets receive, and the frames
 * that AF_PACKET sends.
 */
#ifndef BWTOP_UDP_H
#define BWTOP_UDP_H

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

	if (!thread)
		return;
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
static __always_inline bool count_udp_sent(struct thread *thread, u64 sk,
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
	if (ret <= 0)
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
	read_endpoint(&end, sk, LOAD(u16, sk, SOCK_FAMILY));
	if (count_udp_sent(thread, sk, &end, args->msg, result))
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

	read_endpoint(&end, sk, LOAD(u16, sk, SOCK_FAMILY));
	if (count_datagram(thread, sk, &end) || (!(int)result && count_cork(thread, sk, &end)))
		mark(thread, sk, TX);
}

/*
 * skb_consume_udp(sk, skb, len), at its entry: the datagram that udp_recvmsg()
 * or udpv6_recvmsg() takes off the queue, whole, and with its sender whether
 * that was asked for or not.  A peek passes its negative length; one of no
 * bytes passes 0 and leaves the datagram linked in the queue.
 */
static __always_inline void on_skb_consume_udp(const struct skb_consume_udp *args)
{
	u64 sk = args->sk, skb = args->skb;
	int len = args->len;
	u32 bytes = LOAD(u32, skb, SKB_LEN);
	struct endpoint end;
	struct peer peer;

	if (!bytes || len < 0 || (!len && LOAD(u64, skb, SKB_NEXT)))
		return;
	read_endpoint(&end, sk, LOAD(u16, sk, SOCK_FAMILY));
	sender_address(&peer, skb);
	peer.port = bpf_ntohs(READ_KERNEL(u16, LOAD(u64, skb, SKB_HEAD),
					  LOAD(u16, skb, SKB_TRANSPORT_HEADER)));
	if (mark(thread_of(true), sk, RX))
		charge(sk, &end, &peer, RX, bytes);
}

/*
 * udp_recvmsg(sk, msg, len, …flags…), udpv6_recvmsg(): what was missed there.  The
 * mark stays, for the next one outwards.
 */
static __always_inline void on_udp_recvmsg(const struct udp_recvmsg *args, u64 result)
{
	u64 sk = args->sk;
	struct thread *thread = thread_of(true);
	int ret = result;
	struct endpoint end;
	struct peer peer;

	if (ret <= 0 || is_read_without_moving(args->flags) ||
	    (thread && SAME_CALL(thread->received, sk)))
		return;
	read_endpoint(&end, sk, LOAD(u16, sk, SOCK_FAMILY));
	message_peer(&peer, args->msg, &end);
	if (mark(thread, sk, RX))
		charge(sk, &end, &peer, RX, ret);
}

/*
 * skb_recv_datagram(sk, flags, …): the packet that an ICMP or raw IP socket
 * takes off its queue.  Raw IPv4 sockets get the IP header, too; it is no
 * payload.
 */
static __always_inline void on_skb_recv_datagram(const struct skb_recv_datagram *args, u64 skb)
{
	u64 sk = args->sk;
	u16 family = LOAD(u16, sk, SOCK_FAMILY);
	u32 bytes, header;
	struct endpoint end;
	struct peer peer;

	if (!is_network(family) || !skb || is_read_without_moving(args->flags))
		return;
	read_endpoint(&end, sk, family);
	if (!is_raw_socket(&end))
		return;
	bytes = LOAD(u32, skb, SKB_LEN);
	header = sender_address(&peer, skb);
	if (end.type == SOCK_RAW && family == AF_INET)
		bytes = bytes > header ? bytes - header : 0;
	if (bytes)
		charge(sk, &end, &peer, RX, bytes);
}

/* packet_sendmsg(sock, msg, len), packet_sendmsg_spkt(): frames sent by AF_PACKET. */
static __always_inline void on_packet_sendmsg(const struct sock_sendmsg *args, u64 result)
{
	u64 sk = LOAD(u64, args->sock, SOCKET_SK);
	int ret = result;
	struct endpoint end;
	struct peer nobody = {};

	if (!sk || ret <= 0)
		return;
	read_endpoint(&end, sk, AF_PACKET);
	charge(sk, &end, &nobody, TX, ret);
}

#endif
