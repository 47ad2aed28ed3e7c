/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * A socket's ends: what a hook needs to know of a socket, and how it is read.
 */
#ifndef BWTOP_ENDPOINT_H
#define BWTOP_ENDPOINT_H

#include "load.h"

#define AF_INET		2
#define AF_INET6	10
#define AF_PACKET	17
#define IPPROTO_TCP	6
#define IPPROTO_UDP	17
#define IPPROTO_SCTP	132
#define IPPROTO_UDPLITE	136
#define IPPROTO_RAW	255
#define IPPROTO_MPTCP	262
#define PROTO_PACKET	0	/* IP's own zero is never a socket's protocol */
#define SOCK_STREAM	1
#define SOCK_DGRAM	2
#define SOCK_RAW	3
#define SOCK_SEQPACKET	5
#define MSG_OOB		0x1
#define MSG_PEEK	0x2
#define MSG_PROBE	0x10
#define MSG_ERRQUEUE	0x2000
#define MSG_MORE	0x8000	/* given to a send */
#define MSG_NOTIFICATION 0x8000	/* of SCTP: an event, not data */
#define TCP_ESTABLISHED	1	/* connected datagram sockets have it too */
#define TCP_SYN_SENT	2
#define TCP_CLOSE	7
#define V4_MAPPED	bpf_htonl(0x0000ffff)

enum direction { RX, TX };

/* The far end of one message; port in host byte order, addr as in flow_key. */
struct peer {
	u64 addr[2];
	u16 port;
};

/* What a hook needs to know of a socket, read once. */
struct endpoint {
	struct peer remote;	/* where the socket is connected to, or zeros */
	u16 family;
	u16 protocol;
	u16 type;
	u16 local_port;
	bool connected;
};

static __always_inline void addr_from_v4(u64 addr[2], u32 v4)
{
	addr[0] = 0;
	addr[1] = v4 ? (u64)v4 << 32 | V4_MAPPED : 0;
}

static __always_inline bool is_network(u16 family)
{
	return family == AF_INET || family == AF_INET6;
}

static __always_inline bool is_udp(const struct endpoint *end)
{
	return end->protocol == IPPROTO_UDP || end->protocol == IPPROTO_UDPLITE;
}

static __always_inline bool is_stream(const struct endpoint *end)
{
	return end->type == SOCK_STREAM || end->type == SOCK_SEQPACKET;
}

/* What CRIU puts into a socket's queues is not traffic. */
static __always_inline bool is_repaired(u64 sk, const struct endpoint *end)
{
#ifdef TCP_REPAIR
	return end->protocol == IPPROTO_TCP && is_stream(end) &&
	       LOAD_AS(u8, tcp_sock, sk, TCP_REPAIR) & TCP_REPAIR_MASK;
#else
	return false;
#endif
}

static __always_inline u16 socket_protocol(u64 sk)
{
#ifdef SOCK_PROTOCOL_MASK	/* up to 5.5: a bit-field of one byte, beside another */
	return LOAD(u8, sk, SOCK_PROTOCOL);
#else
	return LOAD(u16, sk, SOCK_PROTOCOL);
#endif
}

/* The type and the protocol, which are side by side where the latter is no bit-field. */
static __always_inline void read_kind(struct endpoint *end, u64 sk)
{
#if defined(TYPED_POINTERS) || defined(SOCK_PROTOCOL_MASK)
	end->protocol = socket_protocol(sk);
	end->type = LOAD(u16, sk, SOCK_TYPE);
#elif SOCK_TYPE < SOCK_PROTOCOL
	SPAN(kind, sk, SOCK_TYPE, SOCK_PROTOCOL + 2);

	end->protocol = LOAD_SPAN(u16, kind, SOCK_TYPE, SOCK_PROTOCOL);
	end->type = LOAD_SPAN(u16, kind, SOCK_TYPE, SOCK_TYPE);
#else
	SPAN(kind, sk, SOCK_PROTOCOL, SOCK_TYPE + 2);

	end->protocol = LOAD_SPAN(u16, kind, SOCK_PROTOCOL, SOCK_PROTOCOL);
	end->type = LOAD_SPAN(u16, kind, SOCK_PROTOCOL, SOCK_TYPE);
#endif
}

/* Of what is read of struct sock_common. */
enum {
	COMMON_END = HIGHER(HIGHER(SOCK_V6_DADDR, SOCK_DADDR),
			    HIGHER(HIGHER(SOCK_DPORT, SOCK_NUM), HIGHER(SOCK_FAMILY, SOCK_STATE))) + 16,
};

/* family: the socket's own, where that is known; 0: to be read. */
static __always_inline void read_endpoint(struct endpoint *end, u64 sk, u16 family)
{
	SPAN(common, sk, 0, COMMON_END);

	if (!family)
		family = LOAD_SPAN(u16, common, 0, SOCK_FAMILY);
	end->family = family;
	read_kind(end, sk);
	end->remote.addr[0] = 0;
	end->remote.addr[1] = 0;
	end->remote.port = 0;
	end->local_port = 0;
	end->connected = false;
	if (family == AF_PACKET)	/* only struct sock is there */
		return;

	end->local_port = LOAD_SPAN(u16, common, 0, SOCK_NUM);
	/* A connection that was reset gave its port back, and can still be read. */
	if (!end->local_port)
		end->local_port = bpf_ntohs(LOAD_AS(u16, inet_sock, sk, INET_SPORT));
	end->remote.port = bpf_ntohs(LOAD_SPAN(u16, common, 0, SOCK_DPORT));
	end->connected = LOAD_SPAN(u8, common, 0, SOCK_STATE) == TCP_ESTABLISHED;
	if (family == AF_INET) {
		addr_from_v4(end->remote.addr, LOAD_SPAN(u32, common, 0, SOCK_DADDR));
	} else {
		end->remote.addr[0] = LOAD_SPAN(u64, common, 0, SOCK_V6_DADDR);
		end->remote.addr[1] = LOAD_SPAN(u64, common, 0, SOCK_V6_DADDR + 8);
	}
}

#endif
