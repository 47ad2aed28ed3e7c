/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * What UDP sends, where the kernel interrupts no programs and a program is dear
 * (kprobe): counted by call, but for corks.  A part that is added to a cork is noted
 * with the whole length and the peer; the call that ends the cork counts those.
 */
#ifndef BWTOP_BY_CALL_H
#define BWTOP_BY_CALL_H

#include "functions.h"

#define UDP_FLAGS_CORK	1	/* the lowest bit; before 6.6 a field of its own */
#define MSG_SENDPAGE_NOTLAST 0x20000

/* Whether anything was ever corked: until then no thread has a note of it. */
BPF_ARRAY(bwtop_corks, u32, 1);

static __always_inline void note_corks(void)
{
	int zero = 0;
	u32 one = 1;

	bwtop_corks.update(&zero, &one);
}

static __always_inline bool has_corks(void)
{
	int zero = 0;
	u32 *corks = bwtop_corks.lookup(&zero);

	return corks && *corks;
}

/* struct flowi4 of the last cork, or of connect() if that was later. */
static __always_inline void cork_peer(struct peer *peer, u64 sk)
{
	SPAN_AS(inet_sock, flow, sk, INET_CORK_DADDR, INET_CORK_DPORT + 2);

	addr_from_v4(peer->addr, LOAD_SPAN_AS(u32, flow, INET_CORK_DADDR, INET_CORK_DADDR));
	peer->port = bpf_ntohs(LOAD_SPAN_AS(u16, flow, INET_CORK_DADDR, INET_CORK_DPORT));
}

static __always_inline void v6_cork_peer(struct peer *peer, u64 sk)
{
	peer->addr[0] = READ_KERNEL(u64, sk, INET_CORK_V6_DADDR);
	peer->addr[1] = READ_KERNEL(u64, sk, INET_CORK_V6_DADDR + 8);
	peer->port = bpf_ntohs(READ_KERNEL(u16, sk, INET_CORK_V6_DPORT));
}

/* What waits in a UDP socket, which is locked; if nothing does, its cork is of an earlier datagram. */
static __always_inline void note_cork(u64 sk)
{
	u32 pending = LOAD_AS(u32, udp_sock, sk, UDP_PENDING);
	struct thread *thread;

	if (!pending)
		return;
	thread = thread_of(true);
	if (!thread) {
		count_missed();
		return;
	}
	thread->datagram.bytes = LOAD_AS(u32, inet_sock, sk, INET_CORK_LENGTH) - UDP_HEADER;
	if (pending == AF_INET)
		cork_peer(&thread->datagram.peer, sk);
	else
		v6_cork_peer(&thread->datagram.peer, sk);
	thread->sent = sk;
	note_corks();
}

static __always_inline u64 take_cork(u64 sk, struct peer *peer)
{
	struct thread *thread = has_corks() ? thread_of(false) : NULL;
	u64 bytes;

	if (!thread || thread->sent != sk)
		return 0;
	bytes = thread->datagram.bytes;
	*peer = thread->datagram.peer;
	thread->datagram.bytes = 0;
	thread->sent = 0;
	return bytes;
}

static __always_inline void count_cork(u64 sk)
{
	struct endpoint end;
	struct peer peer;
	u64 bytes = take_cork(sk, &peer);

	if (!bytes)
		return;
	read_endpoint(&end, sk, 0);
	charge(sk, &end, &peer, TX, bytes);
}

/*
 * ip_append_data(sk, ...), ip6_append_data(), up to 6.4 ip_append_page(): a part is
 * added to what a socket keeps back, not only by UDP.
 */
static __always_inline void on_ip_append(const struct ip_append *args, u64 result)
{
	u64 sk = args->sk;
	struct endpoint end;

	if ((int)result)
		return;
	read_kind(&end, sk);
	if (is_udp_socket(&end))
		note_cork(sk);
}

/* Whether the thread is in a call that counts what a cork has become. */
static __always_inline bool is_sending(void)
{
#ifdef KEEPS_CALLS
	struct thread *thread = thread_of(false);

	return thread && (thread->calls[CALL_inet_sendmsg].args[0] ||
			  thread->calls[CALL_inet6_sendmsg].args[0] ||
			  thread->calls[CALL_inet_sendpage].args[0]);
#else
	return false;
#endif
}

/* udp_push_pending_frames(sk), udp_v6_push_pending_frames(sk): the end of a cork, by setsockopt() too. */
static __always_inline void on_cork_ends(const struct udp_push *args)
{
	if (!is_sending())
		note_cork(args->sk);
}

static __always_inline void on_cork_ended(const struct udp_push *args, u64 result)
{
	struct peer peer;

	if (is_sending())
		return;
	if ((int)result)
		take_cork(args->sk, &peer);
	else
		count_cork(args->sk);
}

/*
 * udp_splice_eof(sock), udpv6_splice_eof(): splice() had announced more than came.
 * Its end of the cork may have passed the function above by.
 */
static __always_inline void on_splice_ends(const struct udp_splice_eof *args)
{
	u64 sk = LOAD(u64, args->sock, SOCKET_SK);

	if (sk && !(LOAD_AS(u8, udp_sock, sk, UDP_FLAGS) & UDP_FLAGS_CORK))
		note_cork(sk);
}

static __always_inline void on_splice_ended(const struct udp_splice_eof *args, u64 result)
{
	count_cork(LOAD(u64, args->sock, SOCKET_SK));
}

/* Whether what a call has sent is settled: it added to a cork, which counts if the call has ended it. */
static __always_inline bool is_settled(u64 sk, u32 flags, int ret)
{
	struct endpoint end;
	struct peer peer;
	u64 bytes = take_cork(sk, &peer);

	if (!bytes)
		return false;
	if (ret < 0 || flags & (MSG_MORE | MSG_SENDPAGE_NOTLAST) ||
	    LOAD_AS(u8, udp_sock, sk, UDP_FLAGS) & UDP_FLAGS_CORK)
		return true;
	read_endpoint(&end, sk, 0);
	charge(sk, &end, &peer, TX, bytes);
	return true;
}

static __always_inline bool was_sent_inside(u64 sk, u64 msg, int ret)
{
	return has_corks() && is_settled(sk, LOAD(u32, msg, MSGHDR_FLAGS), ret);
}

/* Where a datagram to the unspecified address goes: to this host, by the socket's own address if it has one. */
static __always_inline void settle_unspecified(struct peer *peer, u64 sk,
					       const struct endpoint *end)
{
	u32 own;

	if (peer->addr[0] || (peer->addr[1] && peer->addr[1] != V4_MAPPED))
		return;
	if (end->family == AF_INET6 && !peer->addr[1]) {
		peer->addr[1] = (u64)bpf_htonl(1) << 32;
		return;
	}
	own = LOAD_AS(u32, inet_sock, sk, INET_SADDR);
	addr_from_v4(peer->addr, own ? own : bpf_htonl(0x7f000001));
}

/*
 * The datagram that a call has sent, by what the call says: its result, and the
 * address in it, which cgroup programs may have changed by now.  Connected IPv4
 * sockets send without an address to where they sent last with one from a cork.
 */
static __always_inline void count_udp_sent(u64 sk, const struct endpoint *end, u64 msg, int ret)
{
	SPAN(fields, msg, MSGHDR_NAME, MSGHDR_FLAGS + 4);
	u64 address = LOAD_SPAN(u64, fields, MSGHDR_NAME, MSGHDR_NAME);
	u32 flags = LOAD_SPAN(u32, fields, MSGHDR_NAME, MSGHDR_FLAGS);
	struct peer peer;

	if (flags & (MSG_MORE | MSG_PROBE) ||
	    LOAD_AS(u8, udp_sock, sk, UDP_FLAGS) & UDP_FLAGS_CORK)
		return;
	address_peer(&peer, address, end);
	if (end->family == AF_INET && end->connected && !address)
		cork_peer(&peer, sk);
	settle_unspecified(&peer, sk, end);
	charge(sk, end, &peer, TX, ret);
}

static __always_inline void count_udp_page(u64 sk, const struct endpoint *end, u32 flags, int ret)
{
	is_settled(sk, flags, ret);
}

#endif
