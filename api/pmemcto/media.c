/* media.c -- what a libpmemcto pool keeps before its heap
 *
 * Owns:   the checksums, and what is said about a pool that is refused.
 * Rules:  D1 to D6 of media.h.
 * Locks:  none; the caller has the file's lock.
 * Media:  struct pool_front_media, in the caller's buffer or in the mapped pool.
 * Fails:  by a sentence that says what is wrong and, where something can be done, what.
 */
#include "api/pmemcto/media.h"

#include <string.h>

#if defined(__x86_64__)
#define MACHINE 62 /* the EM_ numbers of elf(5) */
#elif defined(__aarch64__)
#define MACHINE 183
#elif defined(__riscv)
#define MACHINE 243
#else
#error "which machine number does the header have to have here?"
#endif

#define MOST_HEAP_OFFSET 65536u /* no system has larger pages, and all pools are larger */

#define KNOWN_INCOMPAT (POOL_INCOMPAT_SINGLEHDR | POOL_INCOMPAT_CKSUM_2K | POOL_INCOMPAT_PMHEAP)

uint64_t
media_checksum(const void *data, size_t n, size_t skip, size_t end)
{
	const uint8_t *bytes = data;
	uint32_t low = 0, high = 0;

	for (size_t i = 0; i < n; i += 4) {
		if (i < end && (i < skip || i >= skip + 8))
			low += (uint32_t)bytes[i] | (uint32_t)bytes[i + 1] << 8 | (uint32_t)bytes[i + 2] << 16 |
			       (uint32_t)bytes[i + 3] << 24;
		high += low;
	}
	return (uint64_t)high << 32 | low;
}

uint64_t
media_header_checksum(const struct pool_header_media *header)
{
	return media_checksum(header, sizeof(*header), offsetof(struct pool_header_media, checksum), POOL_CHECKSUM_END);
}

/* A copy, so that fields can be set aside. */
static uint64_t
fixed_checksum(const struct pool_desc_media *desc)
{
	struct pool_desc_media copy;

	memcpy((void *)&copy, (const void *)desc, sizeof(copy));
	atomic_store_explicit(&copy.root, 0, memory_order_relaxed);
	atomic_store_explicit(&copy.consistent, 0, memory_order_relaxed);
	return media_checksum((const void *)&copy, sizeof(copy), sizeof(copy),
	    offsetof(struct pool_desc_media, fixed_checksum));
}

static uint64_t
closed_checksum(const struct pool_desc_media *desc)
{
	struct pool_desc_media copy;

	memcpy((void *)&copy, (const void *)desc, sizeof(copy));
	atomic_store_explicit(&copy.consistent, 1, memory_order_relaxed);
	return media_checksum((const void *)&copy, sizeof(copy), offsetof(struct pool_desc_media, closed_checksum),
	    sizeof(copy));
}

/* --- making -------------------------------------------------------------------------------------------------- */

/* char, short, int, long, long long, size_t, off_t, float, double, long double, void *: from the lowest 4 bits on. */
static uint64_t
alignment_desc(void)
{
	static const uint8_t alignments[] = {
		_Alignof(char), _Alignof(short), _Alignof(int), _Alignof(long), _Alignof(long long), _Alignof(size_t),
		_Alignof(int64_t), _Alignof(float), _Alignof(double), _Alignof(long double), _Alignof(void *),
	};
	uint64_t desc = 0;

	for (size_t i = 0; i < sizeof(alignments); i++)
		desc |= (uint64_t)(alignments[i] - 1) << (4 * i);
	return desc;
}

void
media_fill_header(struct pool_header_media *header, const struct media_identity *identity)
{
	memcpy(header->signature, POOL_SIGNATURE, sizeof(header->signature));
	header->major = POOL_MAJOR;
	header->incompat = POOL_INCOMPAT_CKSUM_2K | POOL_INCOMPAT_PMHEAP;
	if (identity->single_header)
		header->incompat |= POOL_INCOMPAT_SINGLEHDR;
	header->poolset = identity->poolset;
	header->part = identity->part;
	header->prev_part = identity->prev_part;
	header->next_part = identity->next_part;
	header->prev_replica = header->next_replica = identity->first_part;
	header->created = identity->created;
	header->alignment = alignment_desc();
	header->elf_class = 2; /* 64 bit */
	header->elf_data = 1;  /* little-endian */
	header->machine = MACHINE;
	header->checksum = media_header_checksum(header);
}

void
media_fill_desc(struct pool_desc_media *desc, const char *layout, uint64_t base, uint64_t size, uint32_t flags,
    uint64_t span, uint64_t heap_offset)
{
	if (layout != NULL)
		memcpy(desc->layout, layout, strlen(layout));
	desc->base = base;
	desc->size = size;
	desc->format_version = POOL_FORMAT_VERSION;
	desc->flags = flags;
	desc->span = span;
	desc->heap_offset = heap_offset;
	desc->fixed_checksum = fixed_checksum(desc);
}

void
media_seal(struct pool_desc_media *desc, uint64_t heap_checksum)
{
	desc->generation++;
	desc->heap_checksum = heap_checksum;
	desc->closed_checksum = closed_checksum(desc);
}

/* --- judging ------------------------------------------------------------------------------------------------- */

static bool
all_zero(const void *data, size_t n)
{
	const uint8_t *bytes = data;

	while (n != 0 && *bytes == 0) {
		bytes++;
		n--;
	}
	return n == 0;
}

static bool
same(const struct pool_uuid_media *a, const struct pool_uuid_media *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

static bool
is_linked(const struct pool_header_media *header)
{
	return !same(&header->prev_part, &header->part) || !same(&header->next_part, &header->part) ||
	       !same(&header->prev_replica, &header->part) || !same(&header->next_replica, &header->part);
}

bool
media_is_part(const struct pool_header_media *header)
{
	return is_linked(header) || (header->incompat & POOL_INCOMPAT_SINGLEHDR) != 0;
}

const char *
media_alone_fault(const struct pool_header_media *header, bool single_header)
{
	bool has_bit = (header->incompat & POOL_INCOMPAT_SINGLEHDR) != 0;

	if (has_bit && !single_header)
		return "the file is part of a pool set with one header: open the set, with OPTION SINGLEHDR";
	if (!has_bit && single_header)
		return "the set has OPTION SINGLEHDR, but the pool was made without";
	return is_linked(header) ? "the file is a part of a pool set: open the set, with all its parts" : NULL;
}

const char *
media_neighbours_fault(const struct pool_header_media *one, const struct pool_header_media *next)
{
	if (((one->incompat | next->incompat) & POOL_INCOMPAT_SINGLEHDR) != 0)
		return "the pool was made with OPTION SINGLEHDR, which the set does not have";
	if (!same(&one->poolset, &next->poolset) || !same(&one->next_part, &next->part) ||
	    !same(&next->prev_part, &one->part) || !same(&one->next_replica, &next->next_replica) ||
	    !same(&one->prev_replica, &next->prev_replica))
		return "this file is not the part that belongs here: parts are missing, in another order, or another pool's";
	if (one->compat != next->compat || one->incompat != next->incompat || one->ro_compat != next->ro_compat)
		return "the parts have different features";
	return NULL;
}

const char *
media_header_fault(const struct pool_header_media *header)
{
	if (all_zero(header, sizeof(*header)))
		return "no pool: it begins with zeros (pmemcto_create() makes one)";
	if (memcmp(header->signature, POOL_SIGNATURE, sizeof(header->signature)) != 0)
		return "wrong pool type: the signature is not that of libpmemcto";
	if (header->checksum != media_header_checksum(header))
		return "the header is damaged: wrong checksum";
	if (header->major != POOL_MAJOR)
		return "the pool has another major version: a newer library is needed";
	if ((header->incompat & POOL_INCOMPAT_PMHEAP) == 0)
		return "the pool was made by another implementation of libpmemcto, whose heap this one does not know";
	if ((header->incompat & ~KNOWN_INCOMPAT) != 0)
		return "the pool has features that this version does not know: a newer library is needed";
	if ((header->incompat & POOL_INCOMPAT_CKSUM_2K) == 0)
		return "the header is damaged: its features do not go together";
	if (header->alignment != alignment_desc() || header->elf_class != 2 || header->elf_data != 1 ||
	    header->machine != MACHINE)
		return "the pool was made on another kind of machine";
	if (!all_zero(header->zero0, sizeof(header->zero0)) || !all_zero(header->zero1, sizeof(header->zero1)) ||
	    !all_zero(header->shutdown_state, sizeof(header->shutdown_state)))
		return "the header is damaged: it is not zero where it must be";
	return NULL;
}

const char *
media_desc_fault(const struct pool_front_media *front)
{
	const struct pool_desc_media *desc = &front->desc;

	if (desc->format_version != POOL_FORMAT_VERSION && desc->fixed_checksum == fixed_checksum(desc))
		return "the pool's heap has another format version: a newer library is needed";
	if (desc->fixed_checksum != fixed_checksum(desc))
		return "the descriptor is damaged: wrong checksum";
	if (!all_zero(desc->zero0, sizeof(desc->zero0)) || !all_zero(desc->zero1, sizeof(desc->zero1)) ||
	    !all_zero(front->zero, sizeof(front->zero)))
		return "the descriptor is damaged: it is not zero where it must be";
	if ((desc->flags & ~POOL_FLAGS) != 0)
		return "the pool has features that this version does not know: a newer library is needed";
	if (desc->layout[POOL_LAYOUT_SIZE - 1] != 0)
		return "the layout name has no end";
	if (desc->base == 0)
		return "the pool's address is 0";
	/* The superblock is read before it can be judged: it has to lie in the pool, at the beginning of a page. */
	if (desc->base > UINTPTR_MAX - desc->size || desc->heap_offset < POOL_FRONT_SIZE ||
	    desc->heap_offset > MOST_HEAP_OFFSET || desc->heap_offset % POOL_HEADER_SIZE != 0)
		return "the pool's address, size or heap is impossible";
	return NULL;
}

bool
media_root_valid(const struct pool_desc_media *desc)
{
	uint64_t root = atomic_load_explicit(&desc->root, memory_order_relaxed);

	return root == 0 || (root >= desc->base + POOL_FRONT_SIZE && root < desc->base + desc->size);
}

const char *
media_closed_fault(const struct pool_desc_media *desc)
{
	if (atomic_load_explicit(&desc->consistent, memory_order_relaxed) != 1 ||
	    desc->closed_checksum != closed_checksum(desc))
		return "the descriptor is damaged: wrong checksum of the closed pool";
	if (!media_root_valid(desc))
		return "the root pointer lies outside of the pool";
	return NULL;
}
