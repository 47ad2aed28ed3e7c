/* SPDX-License-Identifier: MIT OR GPL-2.0-only */
/*
 * How a backend whose pointers the verifier knows by type reads the kernel's
 * fields: plain loads, which it turns into ones that cannot fault.
 */
#define LOAD(type, base, offset) (*(type *)((u64)(base) + (offset)))
#define CURRENT_TASK() bpf_get_current_task_btf()
