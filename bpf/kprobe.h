/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The kprobe backend: a probe at a function's entry keeps the arguments, one at
 * its return has the result.  CALL_* numbers the functions; REGISTERS and
 * RESULT are the places of arguments and result in struct pt_regs.
 */

#define KEEPS_CALLS

/* The arguments of a call that has not returned; the first is never 0, else there is none. */
struct call {
	u64 args[ARGUMENTS];
};

/*
 * Marks are taken off when the outer hook is entered, so one that is there is of
 * this call, also if the outer hook's entry was missed.
 */
#define SAME_CALL(marked, sk)	((marked) != 0)

static const int registers[ARGUMENTS] = { REGISTERS };

static __always_inline void enter(u64 *regs, int function);
static __always_inline bool leave(u64 *args, int function);

#define EXIT(program, function, handler)				\
int program##_in(u64 *ctx)						\
{									\
	enter(ctx, CALL_##function);					\
	return 0;							\
}									\
int program(u64 *ctx)							\
{									\
	u64 args[ARGUMENTS];						\
									\
	if (leave(args, CALL_##function))				\
		handler(args, ctx[RESULT]);				\
	return 0;							\
}

#define ENTRY(program, function, handler)				\
int program(u64 *ctx)							\
{									\
	u64 args[] = { ctx[registers[0]], ctx[registers[1]], ctx[registers[2]] }; \
									\
	handler(args);							\
	return 0;							\
}
