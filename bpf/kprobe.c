/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The kprobe backend: a probe at a function's entry keeps the arguments, one at
 * its return has the result.  CALL_* numbers the functions; REGISTERS and
 * RESULT are the places of arguments and result in struct pt_regs.
 */
#define KEEPS_CALLS

#include "functions.h"

static const int registers[ARGUMENTS] = { REGISTERS };

/*
 * A call that begins makes void what an earlier one of this thread left behind
 * because its return was missed: its own arguments, and those and the marks of
 * the calls inside it.
 */
static __always_inline void forget_calls_inside(struct thread *thread, int function)
{
	switch (function) {
	case CALL_inet_sendmsg:
	case CALL_inet6_sendmsg:
		thread->sent = 0;
		thread->datagram.bytes = 0;
		thread->calls[CALL_ip_append_data].args[0] = 0;
		thread->calls[CALL_ip6_append_data].args[0] = 0;
		thread->calls[CALL_tcp_sendmsg].args[0] = 0;
		thread->calls[CALL_udp_sendmsg].args[0] = 0;
		thread->calls[CALL_udpv6_sendmsg].args[0] = 0;
		break;
	case CALL_inet_recvmsg:
	case CALL_inet6_recvmsg:
		thread->received = 0;
		thread->calls[CALL_tcp_recvmsg].args[0] = 0;
		thread->calls[CALL_udp_recvmsg].args[0] = 0;
		thread->calls[CALL_udpv6_recvmsg].args[0] = 0;
		thread->calls[CALL_skb_recv_datagram].args[0] = 0;
		break;
	case CALL_sock_splice_read:
		thread->received = 0;
		thread->calls[CALL_tcp_splice_read].args[0] = 0;
		break;
	case CALL_udp_sendmsg:
	case CALL_udpv6_sendmsg:
		thread->calls[CALL_udp_send_skb].args[0] = 0;
		thread->calls[CALL_udp_v6_send_skb].args[0] = 0;
		break;
	}
}

static __always_inline void enter(u64 *regs, int function)
{
	struct thread *thread = thread_of(true);
	int i;

	if (!thread) {
		count_missed();
		return;
	}
	forget_calls_inside(thread, function);
	_Pragma("clang loop unroll(full)")
	for (i = 0; i < ARGUMENTS; i++)
		thread->calls[function].args[i] = regs[registers[i]];
}

/*
 * Takes away the arguments that the entry kept, so that a later return whose
 * entry was missed finds none.
 */
static __always_inline bool leave(u64 *args, int function)
{
	struct thread *thread = thread_of(false);
	int i;

	if (!thread || !thread->calls[function].args[0])
		return false;
	_Pragma("clang loop unroll(full)")
	for (i = 0; i < ARGUMENTS; i++)
		args[i] = thread->calls[function].args[i];
	thread->calls[function].args[0] = 0;
	return true;
}

#define RETURN(program, function, handler)				\
int program(u64 *ctx)							\
{									\
	u64 args[ARGUMENTS];						\
									\
	if (leave(args, CALL_##function))				\
		handler((void *)args, ctx[RESULT]);			\
	return 0;							\
}

#define EXIT(program, function, handler)				\
int program##_in(u64 *ctx)						\
{									\
	enter(ctx, CALL_##function);					\
	return 0;							\
}									\
RETURN(program, function, handler)

#define FIRST_ARGUMENTS(ctx) { ctx[registers[0]], ctx[registers[1]], ctx[registers[2]] }

#define ENTRY(program, function, handler)				\
int program(u64 *ctx)							\
{									\
	u64 args[] = FIRST_ARGUMENTS(ctx);				\
									\
	handler((void *)args);						\
	return 0;							\
}

#define AROUND(program, function, entry_handler, exit_handler)		\
int program##_in(u64 *ctx)						\
{									\
	u64 args[] = FIRST_ARGUMENTS(ctx);				\
									\
	enter(ctx, CALL_##function);					\
	entry_handler((void *)args);					\
	return 0;							\
}									\
RETURN(program, function, exit_handler)

#include "hooks.h"
