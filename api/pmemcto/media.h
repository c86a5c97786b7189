/* media.h -- what a libpmemcto pool keeps before its heap: the first 8192 bytes of the file
 *
 * Owns:   layout, checksums and verdicts. Who reads or writes the file is file.c, who decides when are create.c, open.c and close.c.
 * Rules:  D1  header and descriptor begin as the published format has them, so that its tools recognise the file; a
 *             private incompatible feature makes the published library refuse it.
 *         D2  `base` is the one address in the file: the program's own pointers are good there only. The heap behind
 *             has none (alloc/heap_media.h).
 *         D3  header.checksum and desc.fixed_checksum are right from creation on, whatever the state.
 *         D4  desc.closed_checksum is right while `consistent` is 1. It takes in the root pointer and the heap's own
 *             checksum, so that who sets `consistent` by hand does not make a pool of an older state.
 *         D5  bytes that nothing is said about are 0, and refused otherwise: what a later version keeps there must
 *             not be lost by this one.
 *         D6  a change of any size or offset changes POOL_FORMAT_VERSION and tests/media_pmemcto.c.
 *
 *   0 header | 4096 descriptor | 6144 zeros | 8192 (rounded up to a page of the system) heap ...
 */
#ifndef API_PMEMCTO_MEDIA_H
#define API_PMEMCTO_MEDIA_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define POOL_SIGNATURE "PMEMCTO" /* and its 0: 8 bytes */
#define POOL_MAJOR 1u
#define POOL_INCOMPAT_SINGLEHDR 0x1u
#define POOL_INCOMPAT_CKSUM_2K 0x2u
#define POOL_INCOMPAT_PMHEAP 0x80000000u /* the heap is one of ours */
#define POOL_FORMAT_VERSION 1u

#define POOL_FLAG_RESERVED 0x1u /* all blocks of the file are the pool's from the start: never punched */
#define POOL_FLAGS POOL_FLAG_RESERVED

#define POOL_LAYOUT_SIZE 1024u
#define POOL_HEADER_SIZE 4096u
#define POOL_FRONT_SIZE 8192u /* header, descriptor, zeros */
#define POOL_CHECKSUM_END 2032u

struct pool_uuid_media {
	uint8_t bytes[16];
};

struct pool_header_media {
	uint8_t signature[8];
	uint32_t major;
	uint32_t compat;    /* unknown ones are ignored */
	uint32_t incompat;  /* unknown ones refuse the pool */
	uint32_t ro_compat; /* unknown ones are ignored, as no pool is opened for reading only */
	struct pool_uuid_media poolset, part, prev_part, next_part, prev_replica, next_replica;
	uint64_t created;   /* seconds since 1970 */
	uint64_t alignment; /* of the C types, 4 bits each: alignment - 1 */
	uint8_t elf_class;
	uint8_t elf_data;
	uint8_t zero0[4];
	uint16_t machine;
	uint8_t zero1[3880];
	uint8_t shutdown_state[64]; /* of the published format; 0 */
	uint64_t checksum;          /* Fletcher64 of bytes 0..2031 and as many zeros as follow them */
};

struct pool_desc_media {
	uint8_t layout[POOL_LAYOUT_SIZE];
	uint64_t base;          /* address that byte 0 of the file is mapped at */
	uint64_t size;          /* bytes mapped there */
	_Atomic uint64_t root;  /* address or 0. Any thread, while open */
	_Atomic uint8_t consistent; /* 1: closed, all is durable; 0: open, or was when the process or machine stopped */
	uint8_t zero0[7];
	/* from here on the format is our own */
	uint32_t format_version;
	uint32_t flags;         /* POOL_FLAG_* */
	uint64_t span;          /* bytes of addresses from `base` on that other new pools stay out of, for growth */
	uint64_t heap_offset;   /* of the heap's superblock */
	uint64_t fixed_checksum;  /* Fletcher64 of this struct with root, consistent and all from here on as 0 */
	uint64_t generation;    /* closings so far */
	uint64_t heap_checksum; /* the heap superblock's, as of the last closing */
	uint64_t closed_checksum; /* Fletcher64 of this struct with this field 0 and consistent 1 */
	uint8_t zero1[936];
};

struct pool_front_media {
	struct pool_header_media header;
	struct pool_desc_media desc;
	uint8_t zero[2048];
};

_Static_assert(sizeof(struct pool_header_media) == POOL_HEADER_SIZE, "media format");
_Static_assert(offsetof(struct pool_header_media, poolset) == 24, "media format");
_Static_assert(offsetof(struct pool_header_media, created) == 120, "media format");
_Static_assert(offsetof(struct pool_header_media, machine) == 142, "media format");
_Static_assert(offsetof(struct pool_header_media, shutdown_state) == 4024, "media format");
_Static_assert(offsetof(struct pool_header_media, checksum) == 4088, "media format");
_Static_assert(sizeof(struct pool_desc_media) == 2048, "media format");
_Static_assert(offsetof(struct pool_front_media, desc.base) == 5120, "media format");
_Static_assert(offsetof(struct pool_front_media, desc.root) == 5136, "media format");
_Static_assert(offsetof(struct pool_front_media, desc.consistent) == 5144, "media format");
_Static_assert(offsetof(struct pool_front_media, desc.format_version) == 5152, "media format");
_Static_assert(offsetof(struct pool_front_media, desc.closed_checksum) == 5200, "media format");
_Static_assert(sizeof(struct pool_front_media) == POOL_FRONT_SIZE, "media format");

/* Fletcher64 over n bytes, a multiple of 4, read as little-endian words; those in [skip, skip + 8) and from `end` on
 * count as 0. */
uint64_t media_checksum(const void *data, size_t n, size_t skip, size_t end);

/* What header.checksum has to be. */
uint64_t media_header_checksum(const struct pool_header_media *header);

/* --- making. `front` is zeroed before. ----------------------------------------------------------------------- */

/* One part's. The parts of a set form a ring, in the set's order; a single file is its own neighbour. */
struct media_identity {
	struct pool_uuid_media poolset, part, prev_part, next_part;
	struct pool_uuid_media first_part; /* both neighbours in the ring of replicas, which has one member */
	uint64_t created;
	bool single_header; /* of the set's parts this one alone has a header */
};

void media_fill_header(struct pool_header_media *header, const struct media_identity *identity);
/* layout NULL is "". All but root, consistent and what pmemcto_close() writes. */
void media_fill_desc(struct pool_desc_media *desc, const char *layout, uint64_t base, uint64_t size, uint32_t flags,
    uint64_t span, uint64_t heap_offset);
/* Before `consistent` becomes 1: D4. */
void media_seal(struct pool_desc_media *desc, uint64_t heap_checksum);

/* --- judging. NULL: good; else what is wrong, for a message. -------------------------------------------------- */

/* All that one header shows, but for where it belongs: */
const char *media_header_fault(const struct pool_header_media *header);
/* By its links and features alone: a part of a pool set of several, or of one with a single header. */
bool media_is_part(const struct pool_header_media *header);
/* Of the only header, of one file or of a set with OPTION SINGLEHDR. */
const char *media_alone_fault(const struct pool_header_media *header, bool single_header);
/* Of two headers, the second of which should follow on the first in the ring of a set with several. */
const char *media_neighbours_fault(const struct pool_header_media *one, const struct pool_header_media *next);
/* All of `front` behind the header; reads nothing that a dirty pool changes. Header judged before. */
const char *media_desc_fault(const struct pool_front_media *front);
/* NULL, or inside of the pool behind its front. */
bool media_root_valid(const struct pool_desc_media *desc);
/* Root and D4; of a pool whose `consistent` is not 0. */
const char *media_closed_fault(const struct pool_desc_media *desc);

#endif
