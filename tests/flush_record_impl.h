/* flush_record_impl.h -- one instance of the engines' text over the recording primitives of flush_record.c
 *
 * The including file sets ENGINE, WIDTH and, for stores past the cache, HAVE_NT; this undoes them for the next one.
 * Not a header to include twice by accident: it has no guard, since each inclusion makes another engine.
 */
#define TARGET
#include "flush/copy_bytes_impl.h"
#include "flush/copy_ways_impl.h"

#undef ENGINE
#undef WIDTH
#undef TARGET
#undef HAVE_NT
#undef CAN_NT
#undef WC_BARRIER
#undef WC_TRACE
#undef NT_WAYS
#undef NT_WAY
#undef NT_DRAINING_WAYS
