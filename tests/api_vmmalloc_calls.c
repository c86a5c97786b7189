/* api_vmmalloc_calls.c -- the malloc family under the preloaded release and debug library, row by row */
#define _GNU_SOURCE
#include "tests/vmmalloc_run.h"

static void
holds(const char *environment, char *name)
{
	struct outcome *o = run(environment, PROGRAM("vmmalloc_calls"), name);

	assert_status(o, 0);
	assert_quiet(o);
}

#define HOLDS(name)                                              \
	Test(api_vmmalloc_calls, name)                           \
	{                                                        \
		holds(ENV_RELEASE, #name);                       \
		if (access(DEBUG_LIB, R_OK) == 0)                \
			holds(ENV_DEBUG, #name);                 \
	}

HOLDS(malloc)
HOLDS(calloc)
HOLDS(realloc)
HOLDS(alignment)
HOLDS(memalign)
HOLDS(posix_memalign)
HOLDS(aligned_alloc)
HOLDS(valloc)
HOLDS(check_allocations)
HOLDS(libc_names)
HOLDS(where)

Test(api_vmmalloc_calls, usable_size_is_close_to_the_request)
{
	holds(ENV_RELEASE "VMMALLOC_POOL_SIZE=32M\n", "usable_size");
}

/* 16 MiB for 8-byte blocks: the published library served 12.28 MiB of 16-byte ones. */
Test(api_vmmalloc_calls, exhaustion_is_enomem_and_ends_with_the_free)
{
	struct outcome *o = run(ENV_RELEASE, PROGRAM("vmmalloc_calls"), "out_of_memory");

	assert_status(o, 0);
	cr_assert_geq(atol(o->out) * 16, 15 << 20);
}

Test(api_vmmalloc_calls, glibc_extras_give_real_numbers)
{
	struct outcome *o = run(ENV_RELEASE, PROGRAM("vmmalloc_calls"), "glibc_extras");

	assert_status(o, 0);
	assert_in(o->err, "system bytes     =");
}

/* The line of the diagnosis, then the program's handler, which may allocate: no lock is in its way. */
Test(api_vmmalloc_calls, misuse_leaves_a_handler_of_sigabrt_working)
{
	struct outcome *o = run(ENV_RELEASE, PROGRAM("vmmalloc_calls"), "handler_of_abort");

	assert_status(o, 0);
	assert_in(o->err, "double free");
}

/* The low numbers are the program's; where no fork needs the pool's file, no descriptor is kept. */
Test(api_vmmalloc_calls, descriptors)
{
	struct outcome *o = run(ENV_RELEASE, PROGRAM("vmmalloc_calls"), "descriptors");

	assert_status(o, 0);
	cr_assert_str_eq(o->out, "1\n");
	o = run(ENV_RELEASE "VMMALLOC_FORK=0\n", PROGRAM("vmmalloc_calls"), "descriptors");
	assert_status(o, 0);
	cr_assert_str_eq(o->out, "0\n");
}

static void
is_caught(char *name, const char *line)
{
	struct outcome *o = run(ENV_RELEASE, PROGRAM("vmmalloc_calls"), name);

	assert_status(o, 134);
	assert_in(o->err, line);
	cr_assert(strchr(o->err, '\n') == o->err + strlen(o->err) - 1, "one line: %s", o->err);
}

Test(api_vmmalloc_calls, double_free_is_caught)
{
	is_caught("double_free", "libvmmalloc: double free of 0x");
	is_caught("double_free_later", "libvmmalloc: double free");
	is_caught("double_free_large", "libvmmalloc: double free");
}

Test(api_vmmalloc_calls, free_inside_a_block_is_caught)
{
	is_caught("inner_free", "libvmmalloc: free of a pointer inside a block: 0x");
	is_caught("misaligned_free", "libvmmalloc: free of a pointer inside a block: 0x");
}

Test(api_vmmalloc_calls, what_is_nobodys_is_left_to_libc)
{
	is_caught("stack_free", "free(): invalid pointer");
}
