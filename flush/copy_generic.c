/* copy_generic.c -- copies with 8-byte loads and stores, for every architecture
 *
 * Owns:   nothing.
 * Rules:  flush/copy_bytes_impl.h, flush/copy_ways_impl.h
 * Locks:  none.
 * Media:  none of its own.
 * Fails:  never.
 */
#include "flush/scalar.h"

#define ENGINE generic
#define TARGET
#define WIDTH 8

#include "flush/copy_bytes_impl.h"
#include "flush/copy_ways_impl.h"
