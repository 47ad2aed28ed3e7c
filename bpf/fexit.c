/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * The fexit backend: BPF trampolines, from 5.5 with BTF.  At a function's exit
 * its arguments are still there, and its result behind them; ARGS_* is their
 * number, from the kernel's BTF.
 */
#define TYPED_POINTERS

#include "functions.h"

#define EXIT(program, function, handler)				\
int program(u64 *ctx)							\
{									\
	handler((void *)ctx, ctx[ARGS_##function]);				\
	return 0;							\
}

#define ENTRY(program, function, handler)				\
int program(u64 *ctx)							\
{									\
	handler((void *)ctx);						\
	return 0;							\
}

#include "hooks.h"
