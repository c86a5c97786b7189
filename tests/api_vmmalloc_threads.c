/* api_vmmalloc_threads.c -- threads' beginnings and ends, and the process's */
#define _GNU_SOURCE
#include "tests/vmmalloc_run.h"

#define HOLDS(name)                                                                              \
	Test(api_vmmalloc_threads, name)                                                         \
	{                                                                                        \
		static const char *const libraries[] = { ENV_RELEASE, ENV_DEBUG };               \
		for (int i = 0; i < (access(DEBUG_LIB, R_OK) == 0 ? 2 : 1); i++) {               \
			struct outcome *o = run(libraries[i], PROGRAM("vmmalloc_threads"), #name); \
			assert_status(o, 0);                                                     \
			assert_quiet(o);                                                         \
			cr_assert_str_eq(o->out, "served\n");                                    \
			free(o);                                                                 \
		}                                                                                \
	}

HOLDS(short)
HOLDS(destructors)
HOLDS(exit)
HOLDS(atexit)
HOLDS(main_ends_first)
HOLDS(signals)
HOLDS(cancel)
