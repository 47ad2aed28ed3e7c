/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The arguments of hooked functions, by name and in the order of their prototypes,
 * as far as they are read: each is a word in a trampoline's context, and in what
 * the kprobe backend keeps of a call.
 */
#ifndef BWTOP_ARGUMENTS_H
#define BWTOP_ARGUMENTS_H

#include "bcc.h"

/* tcp_sendmsg(), udp_sendmsg(), udpv6_sendmsg() */
struct sk_sendmsg {
	u64 sk, msg, len;
};

/* tcp_recvmsg(); before 5.19 another argument stands before the flags. */
struct tcp_recvmsg {
	u64 sk, msg, len, nonblock[TCP_RECVMSG_FLAGS - 3], flags;
};

/* udp_recvmsg(), udpv6_recvmsg() */
struct udp_recvmsg {
	u64 sk, msg, len, nonblock[UDP_RECVMSG_FLAGS - 3], flags;
};

/* udp_send_skb(), udp_v6_send_skb(); flow: struct flowi4 or flowi6 */
struct udp_send_skb {
	u64 skb, flow, cork;
};

/* udp_push_pending_frames(), udp_v6_push_pending_frames() */
struct udp_push {
	u64 sk;
};

/* udp_splice_eof(), udpv6_splice_eof() */
struct udp_splice_eof {
	u64 sock;
};

/* ip_append_data(), ip6_append_data(), ip_append_page() */
struct ip_append {
	u64 sk;
};

struct skb_consume_udp {
	u64 sk, skb, len;
};

struct skb_recv_datagram {
	u64 sk, flags;
};

/* inet_sendmsg(), inet6_sendmsg(), packet_sendmsg(), packet_sendmsg_spkt() */
struct sock_sendmsg {
	u64 sock, msg, size;
};

/* inet_recvmsg(), inet6_recvmsg(), sock_common_recvmsg() */
struct sock_recvmsg {
	u64 sock, msg, size, flags;
};

struct inet_sendpage {
	u64 sock, page, offset, size, flags;
};

struct sock_splice_read {
	u64 file, ppos, pipe, len, flags;
};

struct tcp_splice_read {
	u64 sock, ppos, pipe, len, flags;
};

struct tcp_zerocopy_receive {
	u64 sk, zc;
};

struct inet_release {
	u64 sock;
};

#endif
