/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * Datagrams: UDP's, those that ICMP and raw IP sockets receive, and the frames
 * that AF_PACKET sends.
 */
#ifndef BWTOP_UDP_H
#define BWTOP_UDP_H

#include "functions.h"

#if defined(ONE_LAYER) && defined(KEEPS_CALLS)
#include "by_call.h"
#else
#include "layers.h"
#endif

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
	struct endpoint end;
	struct peer peer;
	u32 bytes;

	if (len < 0 || (!len && LOAD(u64, skb, SKB_NEXT)))
		return;
	read_sender(&peer, skb, &bytes);
	if (!bytes)
		return;
	read_endpoint(&end, sk, 0);
	if (mark_datagram(sk))
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
	read_endpoint(&end, sk, 0);
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
	header = read_sender(&peer, skb, &bytes);
	peer.port = 0;		/* not a service's */
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
	read_endpoint(&end, sk, 0);
	charge(sk, &end, &nobody, TX, ret);
}

#endif
