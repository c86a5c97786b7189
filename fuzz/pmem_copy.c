/* pmem_copy.c -- fuzz target: any sequence of copies, moves, sets and flushes leaves the bytes that memmove would leave
 *
 * Every engine, way of write-back, flag, offset, length, threshold; source and destination lie in one area between guard
 * pages, so that they overlap as the input likes. Compared with a shadow after each operation.
 *
 * Input: OP_SIZE bytes per operation: what, engine, kind, settings, flags, value, dest, src, length (each 2 bytes,
 * little end first). Deterministic: nothing stays behind between two inputs.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "flush/flush.h"
#include "tests/flush_engines.h"

#define AREA ((size_t)16384)
#define OP_SIZE 12

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *area, shadow[AREA];
static const struct engine *engines;
static unsigned nengines;

static void
begin(void)
{
	if (area == NULL) {
		flush_engines_emulate();
		area = guarded_map(AREA);
		engines = flush_engines();
		while (engines[nengines].name != NULL)
			nengines++;
	}
	for (size_t i = 0; i < AREA; i++)
		area[i] = shadow[i] = (char)(i * 7 + i / 256);
}

static size_t
number(const uint8_t *data)
{
	return data[0] | (size_t)data[1] << 8;
}

static void
operation(const uint8_t *op)
{
	const struct engine *e = &engines[op[1] % nengines];
	int kind = op[2] % LINE_KINDS;
	unsigned flags = op[4] & 0x3f;
	size_t dest = number(op + 6) % AREA, src = number(op + 8) % AREA, len = number(op + 10) % 5000;
	size_t high = dest > src ? dest : src;
	const struct copy_ops *ops;
	void *result = area + dest;

	if (op[3] & 8) { /* against the guard page behind */
		dest = AREA - len;
		high = dest > src ? dest : src;
		result = area + dest;
	}
	if (len > AREA - high)
		len = AREA - high;
	if (!flush_kind_works(kind))
		kind = LINE_EMPTY + 1;
	ops = &e->kinds[kind];
	copy_settings.nt_threshold = (size_t)(op[3] & 7) * 96;
	copy_settings.nt_odd_threshold = (size_t)(op[4] >> 6) * 256;
	copy_settings.wc_barrier = (op[3] & 16) != 0;
	copy_settings.clflush_unordered = (op[3] & 32) != 0;
	switch (op[0] % 8) {
	case 0:
		result = ops->copy_persist(area + dest, area + src, len);
		break;
	case 1:
		result = ops->copy_nodrain(area + dest, area + src, len);
		break;
	case 2:
	case 3:
		result = ops->copy(area + dest, area + src, len, flags);
		break;
	case 4:
		result = ops->set_persist(area + dest, op[5], len);
		break;
	case 5:
		result = ops->set_nodrain(area + dest, op[5], len);
		break;
	case 6:
		result = ops->set(area + dest, op[5], len, flags);
		break;
	default:
		line_flush_range(area + dest, len, kind);
		flush_persist(area + src, len);
	}
	if (op[0] % 8 < 4)
		memmove(shadow + dest, shadow + src, len);
	else if (op[0] % 8 < 7)
		memset(shadow + dest, op[5], len);
	if (result != area + dest || memcmp(area, shadow, AREA) != 0)
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	begin();
	for (; size >= OP_SIZE; data += OP_SIZE, size -= OP_SIZE)
		operation(data);
	return 0;
}
