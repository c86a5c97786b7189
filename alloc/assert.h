/* assert.h -- assertions by level, chosen by `configure.py --assert=N`
 *
 * ASSERT1 checks callers, ASSERT2 checks O(1) internals, level 3 walks whole structures after slow-path operations
 * (ASSERT3(heap_check(...)) in heap.c). Level 0 leaves none. Checks against damaged metadata that release builds
 * keep are not assertions: they call os_fatal().
 */
#ifndef ALLOC_ASSERT_H
#define ALLOC_ASSERT_H

#include "alloc/os.h"

#ifndef PMHEAP_ASSERT
#define PMHEAP_ASSERT 0
#endif

#define ASSERT_STR_(x) #x
#define ASSERT_STR(x) ASSERT_STR_(x)
#define ASSERT_FAIL(cond) os_fatal("pmheap", "assertion failure: " #cond " at " __FILE__ ":" ASSERT_STR(__LINE__), NULL)

#if PMHEAP_ASSERT >= 1
#define ASSERT1(cond) ((cond) ? (void)0 : ASSERT_FAIL(cond))
#else
#define ASSERT1(cond) ((void)0)
#endif

#if PMHEAP_ASSERT >= 2
#define ASSERT2(cond) ((cond) ? (void)0 : ASSERT_FAIL(cond))
#else
#define ASSERT2(cond) ((void)0)
#endif

#if PMHEAP_ASSERT >= 3
#define ASSERT3(cond) ((cond) ? (void)0 : ASSERT_FAIL(cond))
#else
#define ASSERT3(cond) ((void)0)
#endif

#endif
