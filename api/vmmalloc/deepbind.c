/* deepbind.c -- keeps plugins in the same malloc as the rest of the program
 *
 * A library opened with RTLD_DEEPBIND looks names up in itself and its own dependencies first: its malloc and free
 * would be libc's. What it allocates we can take back (foreign.h), but a block of ours that it frees, say one from
 * strdup(), would reach libc's free and end the program. glibc before 2.34 had hooks for this; now only the flag can
 * be kept from it, which is what we do. The price: its own names no longer come before the program's.
 *
 * Owns:   the address of the next dlopen.
 * Rules:  D1  the call to the next dlopen is the last thing done and becomes a jump, in debug builds too: dlopen(3)
 *             takes its caller's RUNPATH and namespace from the return address, which must not be ours.
 *         D2  not in the static library: a static program's own dlopen could not be reached.
 * Locks:  none: finding it twice gives the same value.
 * Media:  process only.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdatomic.h>
#include <stddef.h>

/* D1: compilers make jumps of such calls from -O2 on; clang can be told at the call, gcc for the function. */
#if !defined(__clang__)
#define JUMPS __attribute__((optimize("O2")))
#define JUMP
#else
#define JUMPS
#if __clang_major__ >= 13
#define JUMP __attribute__((musttail))
#else
#define JUMP
#endif
#endif

__attribute__((visibility("default"), weak)) JUMPS void *
dlopen(const char *file, int mode)
{
	static void *(*_Atomic next)(const char *, int);
	void *(*call)(const char *, int) = atomic_load_explicit(&next, memory_order_relaxed);

	if (call == NULL) {
		call = (void *(*)(const char *, int))dlsym(RTLD_NEXT, "dlopen");
		if (call == NULL)
			return NULL; /* dlerror(3) tells of the name that was not found */
		atomic_store_explicit(&next, call, memory_order_relaxed);
	}
	JUMP return call(file, mode & ~RTLD_DEEPBIND);
}
