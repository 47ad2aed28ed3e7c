/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * What the backends that hook functions count, the same for fexit and kprobe:
 * a handler for each hooked function, given its arguments and its result.  All
 * of them run in the context of the process that made the call.
 *
 * Bytes are counted at the innermost place that knows them, and marked there
 * for the thread; the hook around it counts only what is not marked.  So what
 * passes the inner hook by is counted outside (kernel TLS, MPTCP, SCTP), and so
 * is what the inner hook missed because its program was interrupted by itself.
 *
 *   innermost			inner				outer
 *				tcp_sendmsg, tcp_recvmsg	inet_sendmsg,
 *   udp_send_skb		udp_sendmsg, udpv6_sendmsg	inet_recvmsg, …
 *   skb_consume_udp		udp_recvmsg, udpv6_recvmsg
 *
 * Counted by results, never by the sizes asked for; not at tcp_cleanup_rbuf(),
 * which also runs for peeks and with running sums.
 */

#define SOCK_DGRAM	2
#define IPPROTO_ICMP	1
#define IPPROTO_ICMPV6	58
#define TCP_LISTEN	10
#define TCP_CLOSE	7
#define UDP_HEADER	8

/*
 * Roles that the socket itself does not tell: of accepted sockets without a
 * backlog, of connected ones with one, and of unbound datagram sockets.  Least
 * recently used ones make room: then the socket's own fields decide.
 */
BPF_TABLE("lru_hash", u64, u8, bwtop_roles, MAX_PROCESSES);

static __always_inline u8 *remembered_role(u64 sk, bool create)
{
	u8 *role = bwtop_roles.lookup(&sk);
	u8 unknown = 0;

	if (role || !create)
		return role;
	bwtop_roles.update(&sk, &unknown);
	return bwtop_roles.lookup(&sk);
}

/*
 * The mark is set before anything is counted: where it cannot be, the outer
 * hook counts.
 */
static __always_inline bool mark(u64 sk, enum direction direction)
{
	struct thread *thread = thread_of(true);

	if (!thread)
		return false;
	if (direction == RX)
		thread->received = sk;
	else
		thread->sent = sk;
	return true;
}

/* Takes the mark off; true if it was for this socket. */
static __always_inline bool was_counted_inside(u64 sk, enum direction direction)
{
	struct thread *thread = thread_of(false);
	u64 marked;

	if (!thread)
		return false;
	if (direction == RX) {
		marked = thread->received;
		thread->received = 0;
	} else {
		marked = thread->sent;
		thread->sent = 0;
	}
	return SAME_CALL(marked, sk);
}

static __always_inline bool is_read_without_moving(u32 flags)
{
	return flags & (MSG_PEEK | MSG_ERRQUEUE);
}

static __always_inline bool is_icmp(const struct endpoint *end)
{
	return end->protocol == IPPROTO_ICMP || end->protocol == IPPROTO_ICMPV6;
}

/* Those that are counted where their datagrams pass, not by a call's result. */
static __always_inline bool is_udp_socket(const struct endpoint *end)
{
	return end->type != SOCK_RAW && is_udp(end);
}

static __always_inline bool is_raw_socket(const struct endpoint *end)
{
	return end->type == SOCK_RAW || (end->type == SOCK_DGRAM && is_icmp(end));
}

static __always_inline void count(u64 sk, const struct endpoint *end, const struct peer *peer,
				  enum direction direction, u64 bytes)
{
	charge(end, peer, role_of(sk, end, peer, direction), direction, bytes);
}

/*
 * The peer of a message whose address is the kernel's own copy of what the
 * caller passed, or what the caller is going to get (struct msghdr); without
 * one, the peer that the socket is connected to.
 */
static __always_inline void message_peer(struct peer *peer, u64 msg,
					 const struct endpoint *end)
{
	struct {
		u16 family;
		u16 port;
		u32 v4;
		u64 v6[2];
	} name = {};
	u64 address = LOAD(u64, msg, MSGHDR_NAME);

	*peer = end->remote;
	if (!is_stream(end) && !end->connected)
		*peer = (struct peer){};
	if (address) {
		bpf_probe_read_kernel(&name, sizeof(name), (void *)address);
		peer->port = bpf_ntohs(name.port);
		if (name.family == AF_INET) {
			addr_from_v4(peer->addr, name.v4);
		} else if (name.family == AF_INET6) {
			peer->addr[0] = name.v6[0];
			peer->addr[1] = name.v6[1];
		}
	}
	if (is_raw_socket(end))
		peer->port = 0;		/* not a service's */
}

/* Who sent a packet, by its own IP header; bytes of that header. */
static __always_inline u32 sender_address(struct peer *peer, u64 skb)
{
	u64 header = LOAD(u64, skb, SKB_HEAD) + LOAD(u16, skb, SKB_NETWORK_HEADER);
	u8 first = READ_KERNEL(u8, header, 0);

	*peer = (struct peer){};
	if (first >> 4 == 4) {
		addr_from_v4(peer->addr, READ_KERNEL(u32, header, 12));	/* iphdr.saddr */
		return (first & 0xf) * 4;
	}
	bpf_probe_read_kernel(peer->addr, sizeof(peer->addr), (void *)(header + 8));
	return 40;			/* struct ipv6hdr */
}

/*
 * tcp_sendmsg(sk, msg, size): every byte sent through a TCP socket that has no
 * upper layer; sendfile() and splice() too from 6.5 on.
 */
static __always_inline void on_tcp_sendmsg(const u64 *args, u64 result)
{
	u64 sk = args[0];
	int ret = result;
	struct endpoint end;

	if (ret <= 0)
		return;
	read_endpoint(&end, sk, LOAD(u16, sk, SOCK_FAMILY));
	if (mark(sk, TX) && !is_repaired(sk, &end))
		count(sk, &end, &end.remote, TX, ret);
}

/* tcp_recvmsg(sk, msg, len, …flags…): all but splice() and TCP_ZEROCOPY_RECEIVE. */
static __always_inline void on_tcp_recvmsg(const u64 *args, u64 result)
{
	u64 sk = args[0];
	int ret = result;
	struct endpoint end;

	if (ret <= 0 || is_read_without_moving(args[TCP_RECVMSG_FLAGS]))
		return;
	read_endpoint(&end, sk, LOAD(u16, sk, SOCK_FAMILY));
	if (mark(sk, RX))
		count(sk, &end, &end.remote, RX, ret);
}

static __always_inline bool count_datagram(u64 sk, const struct endpoint *end);
static __always_inline bool count_udp_sent(u64 sk, const struct endpoint *end, u64 msg, int ret);

/*
 * inet_sendmsg(sock, msg, size), inet6_sendmsg(): around tcp_sendmsg() and
 * udp_sendmsg(), and the only place for kernel TLS, MPTCP, SCTP, ICMP and raw IP.
 */
static __always_inline void on_inet_sendmsg(const u64 *args, u64 result)
{
	u64 sk = LOAD(u64, args[0], SOCKET_SK);
	int ret = result;
	struct endpoint end;
	struct peer peer;

	if (!sk || was_counted_inside(sk, TX) || ret <= 0)
		return;
	read_endpoint(&end, sk, LOAD(u16, sk, SOCK_FAMILY));
	if (!is_network(end.family) || is_repaired(sk, &end))
		return;
	if (is_udp_socket(&end)) {
		count_udp_sent(sk, &end, args[1], ret);
		return;
	}
	message_peer(&peer, args[1], &end);
	count(sk, &end, &peer, TX, ret);
}

/*
 * inet_recvmsg(sock, msg, size, flags), inet6_recvmsg(), sock_common_recvmsg():
 * around tcp_recvmsg() and udp_recvmsg(), and the only place for kernel TLS,
 * MPTCP and SCTP.  ICMP and raw IP are counted at skb_recv_datagram().
 */
static __always_inline void on_inet_recvmsg(const u64 *args, u64 result)
{
	u64 sk = LOAD(u64, args[0], SOCKET_SK);
	int ret = result;
	struct endpoint end;
	struct peer peer;

	if (!sk || was_counted_inside(sk, RX) || ret <= 0 || is_read_without_moving(args[3]))
		return;
	read_endpoint(&end, sk, LOAD(u16, sk, SOCK_FAMILY));
	if (!is_network(end.family) || is_raw_socket(&end))
		return;
	message_peer(&peer, args[1], &end);
	count(sk, &end, &peer, RX, ret);
}

#ifdef PROTO_SENDPAGE
/*
 * inet_sendpage(sock, page, offset, size, flags), up to 6.4: sendfile() and
 * splice() into a socket, which do not pass inet_sendmsg() there, unless the
 * protocol has no sendpage: then it falls back to inet_sendmsg(), where it is
 * counted (MPTCP, raw IP).  UDP's makes a datagram like any other, which may have
 * been counted at the end of its cork.
 */
static __always_inline void on_inet_sendpage(const u64 *args, u64 result)
{
	u64 sk = LOAD(u64, args[0], SOCKET_SK);
	int ret = result;
	struct endpoint end;

	if (!sk || ret <= 0)
		return;
	read_endpoint(&end, sk, LOAD(u16, sk, SOCK_FAMILY));
	if (is_udp_socket(&end))
		count_datagram(sk, &end);
	else if (is_network(end.family) && LOAD(u64, LOAD(u64, sk, SOCK_PROT), PROTO_SENDPAGE))
		count(sk, &end, &end.remote, TX, ret);
}
#endif

static __always_inline void count_spliced(u64 sock, u64 result)
{
	u64 sk = LOAD(u64, sock, SOCKET_SK);
	s64 ret = result;
	struct endpoint end;

	if (!sk || ret <= 0)
		return;
	read_endpoint(&end, sk, LOAD(u16, sk, SOCK_FAMILY));
	if (is_network(end.family))
		count(sk, &end, &end.remote, RX, ret);
}

/*
 * sock_splice_read(file, ppos, pipe, len, flags): splice() out of a socket.
 * Without a splice_read of its own the socket is read by inet_recvmsg(), and
 * counted there.
 */
static __always_inline void on_sock_splice_read(const u64 *args, u64 result)
{
	u64 sock = SOCKET_OF_FILE(args[0]);

	if (sock && LOAD(u64, LOAD(u64, sock, SOCKET_OPS), PROTO_OPS_SPLICE_READ))
		count_spliced(sock, result);
}

/* tcp_splice_read(sock, ppos, pipe, len, flags): where sock_splice_read() cannot be hooked. */
static __always_inline void on_tcp_splice_read(const u64 *args, u64 result)
{
	count_spliced(args[0], result);
}

/*
 * tcp_zerocopy_receive(sk, zc, …): TCP_ZEROCOPY_RECEIVE maps pages, and copies
 * what fills none; neither passes tcp_recvmsg().
 */
static __always_inline void on_tcp_zerocopy_receive(const u64 *args, u64 result)
{
	u64 sk = args[0];
	u64 bytes = LOAD(u32, args[1], ZEROCOPY_LENGTH);
	struct endpoint end;
#ifdef ZEROCOPY_COPYBUF_LEN
	s32 copied = LOAD(s32, args[1], ZEROCOPY_COPYBUF_LEN);

	if (copied > 0)
		bytes += copied;
#endif
	if ((int)result || !bytes)
		return;
	read_endpoint(&end, sk, LOAD(u16, sk, SOCK_FAMILY));
	count(sk, &end, &end.remote, RX, bytes);
}

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

static __always_inline void on_udp_send_skb(const u64 *args, u64 result)
{
	u64 fl4 = args[1];
	struct peer peer;

	if ((int)result)
		return;
	addr_from_v4(peer.addr, LOAD(u32, fl4, FLOWI4_DADDR));
	peer.port = bpf_ntohs(LOAD(u16, fl4, FLOWI4_DPORT));
	note_datagram(args[2], &peer, bpf_ntohs(LOAD(u16, fl4, FLOWI4_SPORT)));
}

static __always_inline void on_udp_v6_send_skb(const u64 *args, u64 result)
{
	u64 fl6 = args[1];
	struct peer peer;

	if ((int)result)
		return;
	peer.addr[0] = LOAD(u64, fl6, FLOWI6_DADDR);
	peer.addr[1] = LOAD(u64, fl6, FLOWI6_DADDR + 8);
	peer.port = bpf_ntohs(LOAD(u16, fl6, FLOWI6_DPORT));
	note_datagram(args[2], &peer, bpf_ntohs(LOAD(u16, fl6, FLOWI6_SPORT)));
}

/*
 * Counts the datagram that this thread has handed on; false if there is none of
 * this socket.
 */
static __always_inline bool count_datagram(u64 sk, const struct endpoint *end)
{
	struct thread *thread = thread_of(false);
	struct peer peer;
	u64 bytes;

	if (!thread || !thread->datagram.bytes)
		return false;
	bytes = thread->datagram.bytes;
	thread->datagram.bytes = 0;
	if (thread->datagram.local_port != end->local_port)
		return false;
	peer = thread->datagram.peer;
	count(sk, end, &peer, TX, bytes);
	return true;
}

/*
 * What a UDP socket sent in a call that nobody inside it has counted: its
 * datagram, or if that was missed what the call says, unless it is waiting for
 * more (corked).
 */
static __always_inline bool count_udp_sent(u64 sk, const struct endpoint *end, u64 msg, int ret)
{
	struct peer peer;

	if (count_datagram(sk, end))
		return true;
	if (ret <= 0 || (!UDP_BY_CALL && READ_KERNEL(u32, sk, UDP_PENDING)))
		return false;
	message_peer(&peer, msg, end);
	count(sk, end, &peer, TX, ret);
	return true;
}

/*
 * udp_sendmsg(sk, msg, len), and udpv6_sendmsg(), which hands on to the former
 * for IPv4: what is marked then is marked for the next one outwards.
 */
static __always_inline void on_udp_sendmsg(const u64 *args, u64 result)
{
	u64 sk = args[0];
	struct thread *thread = thread_of(false);
	struct endpoint end;

	read_endpoint(&end, sk, LOAD(u16, sk, SOCK_FAMILY));
	if (thread && !thread->datagram.bytes && SAME_CALL(thread->sent, sk))
		return;
	if (count_udp_sent(sk, &end, args[1], result))
		mark(sk, TX);
}

/*
 * udp_push_pending_frames(sk), udp_v6_push_pending_frames(sk): the end of a
 * cork, by setsockopt() too.  The mark is for a udp_sendmsg() around it.
 */
static __always_inline void on_udp_push_pending_frames(const u64 *args, u64 result)
{
	u64 sk = args[0];
	struct endpoint end;

	read_endpoint(&end, sk, LOAD(u16, sk, SOCK_FAMILY));
	if (count_datagram(sk, &end))
		mark(sk, TX);
}

/*
 * skb_consume_udp(sk, skb, len), at its entry: the datagram that udp_recvmsg()
 * or udpv6_recvmsg() takes off the queue, whole, and with its sender whether
 * that was asked for or not.  A peek passes its negative length; one of no
 * bytes passes 0 and leaves the datagram linked in the queue.
 */
static __always_inline void on_skb_consume_udp(const u64 *args)
{
	u64 sk = args[0], skb = args[1];
	int len = args[2];
	u32 bytes = LOAD(u32, skb, SKB_LEN);
	struct endpoint end;
	struct peer peer;

	if (!bytes || len < 0 || (!len && LOAD(u64, skb, SKB_NEXT)))
		return;
	read_endpoint(&end, sk, LOAD(u16, sk, SOCK_FAMILY));
	sender_address(&peer, skb);
	peer.port = bpf_ntohs(READ_KERNEL(u16, LOAD(u64, skb, SKB_HEAD),
					  LOAD(u16, skb, SKB_TRANSPORT_HEADER)));
	if (mark(sk, RX))
		count(sk, &end, &peer, RX, bytes);
}

/*
 * udp_recvmsg(sk, msg, len, …flags…), udpv6_recvmsg(): what was missed there.  The
 * mark stays, for the next one outwards.
 */
static __always_inline void on_udp_recvmsg(const u64 *args, u64 result)
{
	u64 sk = args[0];
	struct thread *thread = thread_of(false);
	int ret = result;
	struct endpoint end;
	struct peer peer;

	if (ret <= 0 || is_read_without_moving(args[UDP_RECVMSG_FLAGS]) ||
	    (thread && SAME_CALL(thread->received, sk)))
		return;
	read_endpoint(&end, sk, LOAD(u16, sk, SOCK_FAMILY));
	message_peer(&peer, args[1], &end);
	if (mark(sk, RX))
		count(sk, &end, &peer, RX, ret);
}

/*
 * skb_recv_datagram(sk, flags, …): the packet that an ICMP or raw IP socket
 * takes off its queue.  Raw IPv4 sockets get the IP header, too; it is no
 * payload.
 */
static __always_inline void on_skb_recv_datagram(const u64 *args, u64 skb)
{
	u64 sk = args[0];
	u16 family = LOAD(u16, sk, SOCK_FAMILY);
	u32 bytes, header;
	struct endpoint end;
	struct peer peer;

	if (!is_network(family) || !skb || is_read_without_moving(args[1]))
		return;
	read_endpoint(&end, sk, family);
	if (!is_raw_socket(&end))
		return;
	bytes = LOAD(u32, skb, SKB_LEN);
	header = sender_address(&peer, skb);
	if (end.type == SOCK_RAW && family == AF_INET)
		bytes = bytes > header ? bytes - header : 0;
	if (bytes)
		count(sk, &end, &peer, RX, bytes);
}

/* packet_sendmsg(sock, msg, len), packet_sendmsg_spkt(): frames sent by AF_PACKET. */
static __always_inline void on_packet_sendmsg(const u64 *args, u64 result)
{
	u64 sk = LOAD(u64, args[0], SOCKET_SK);
	int ret = result;
	struct endpoint end;
	struct peer nobody = {};

	if (!sk || ret <= 0)
		return;
	read_endpoint(&end, sk, AF_PACKET);
	count(sk, &end, &nobody, TX, ret);
}

/* inet_release(sock), at its entry: a socket is closed, and its memory used again. */
static __always_inline void on_inet_release(const u64 *args)
{
	u64 sk = LOAD(u64, args[0], SOCKET_SK);

	bwtop_roles.delete(&sk);
}

/*
 * inet_sock_set_state(sk, old, new): which side opened a connection, where the
 * backlog would say otherwise.  Accepted sockets begin as copies of listening
 * ones, MPTCP's too.
 */
int bwtop_state(u64 *ctx)
{
	u64 sk = ctx[0];
	int before = ctx[1], now = ctx[2];
	u8 role;

	if (before == TCP_LISTEN && now != TCP_CLOSE)
		role = ROLE_SERVER + 1;
	else if (now == TCP_SYN_SENT)
		role = ROLE_CLIENT + 1;
	else if (now == TCP_CLOSE)
		role = 0;
	else
		return 0;
	if (!role || stream_role(sk, NULL) + 1 == role)
		bwtop_roles.delete(&sk);
	else
		bwtop_roles.update(&sk, &role);
	return 0;
}
