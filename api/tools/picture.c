/* picture.c -- see picture.h
 *
 * Extents come in ascending order, so one cell at a time is being filled; when the next one begins it is summed up.
 *
 * Media:  reads, through the survey.
 * Fails:  by false.
 */
#include "api/tools/picture.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/tools/progress.h"

/* What the cell that is being filled is made of. */
struct tally {
	uint64_t pages[PICTURE_KINDS];
	double bytes[PICTURE_KINDS]; /* in use */
	uint32_t extent;             /* number of the one extent in it */
	bool several;
};

struct drawing {
	struct picture *picture;
	struct tally tally;
	uint64_t page; /* next one of the strip */
	uint32_t room; /* for extents */
	uint64_t run;  /* free pages that end here */
};

const char *
picture_name(enum picture_kind kind)
{
	static const char *const names[PICTURE_KINDS] = {
		"",
		"header and tables",
		"slots to 64 bytes",
		"slots to 256 bytes",
		"slots to 1 KiB",
		"slots to 4 KiB",
		"slots to 16 KiB",
		"slots to 32 KiB",
		"blocks to 1 MiB",
		"larger blocks",
		"free",
		"free, not in the file",
		"never used",
		"in use by nothing",
	};

	return names[kind];
}

static enum picture_kind
kind_of(const struct survey_extent *extent)
{
	switch (extent->kind) {
	case SURVEY_SLAB:
		return extent->slot_size <= 64       ? PICTURE_SLAB_64
			: extent->slot_size <= 256   ? PICTURE_SLAB_256
			: extent->slot_size <= 1024  ? PICTURE_SLAB_1K
			: extent->slot_size <= 4096  ? PICTURE_SLAB_4K
			: extent->slot_size <= 16384 ? PICTURE_SLAB_16K
						     : PICTURE_SLAB_32K;
	case SURVEY_LARGE:
		return (uint64_t)extent->pages * HEAP_PAGE > SC_MAX_SIZE ? PICTURE_BLOCK_LARGE : PICTURE_BLOCK_1M;
	case SURVEY_FREE:
		return PICTURE_FREE;
	case SURVEY_HOLE:
		return PICTURE_HOLE;
	case SURVEY_UNUSED:
		return PICTURE_UNUSED;
	default:
		return PICTURE_LOST;
	}
}

static bool
is_free(enum picture_kind kind)
{
	return kind == PICTURE_FREE || kind == PICTURE_HOLE || kind == PICTURE_UNUSED;
}

/* --- cells ---------------------------------------------------------------------------------------------------- */

static void
finish_cell(struct drawing *drawing)
{
	struct picture *picture = drawing->picture;
	const struct tally *tally = &drawing->tally;
	struct picture_cell *cell = &picture->cells[(drawing->page - 1) / picture->pages_per_cell];
	enum picture_kind most = PICTURE_TABLES;
	double used;

	for (int kind = PICTURE_TABLES; kind < PICTURE_KINDS; kind++)
		if (tally->pages[kind] > tally->pages[most])
			most = (enum picture_kind)kind;
	if (tally->pages[PICTURE_LOST] != 0)
		most = PICTURE_LOST;
	used = tally->bytes[most] / ((double)picture->pages_per_cell * HEAP_PAGE);
	cell->kind = (uint8_t)most;
	cell->fill = (uint8_t)(used * 255 + 0.5);
	cell->extent = tally->several ? 0 : tally->extent;
	drawing->tally = (struct tally){0};
}

/* The next pages of the strip, all alike; `bytes` of each are in use. */
static void
add_pages(struct drawing *drawing, enum picture_kind kind, uint64_t pages, double bytes, uint32_t number)
{
	uint64_t per_cell = drawing->picture->pages_per_cell;

	while (pages != 0) {
		struct tally *tally = &drawing->tally;
		uint64_t n = per_cell - drawing->page % per_cell;

		if (n > pages)
			n = pages;
		tally->several |= tally->extent != 0;
		tally->extent = number;
		tally->pages[kind] += n;
		tally->bytes[kind] += bytes * (double)n;
		drawing->page += n;
		pages -= n;
		if (drawing->page % per_cell == 0)
			finish_cell(drawing);
	}
}

/* --- extents -------------------------------------------------------------------------------------------------- */

static void
add_extent(struct drawing *drawing, enum picture_kind kind, const struct survey_extent *extent)
{
	struct picture *picture = drawing->picture;
	uint64_t bytes = kind == PICTURE_TABLES ? (uint64_t)extent->pages * HEAP_PAGE
		: extent->kind == SURVEY_SLAB   ? (uint64_t)extent->used * extent->slot_size
						: (uint64_t)extent->used * extent->pages * HEAP_PAGE;

	if (kind == PICTURE_LOST)
		bytes = (uint64_t)extent->pages * HEAP_PAGE;
	picture->total[kind] += extent->pages;
	picture->bytes[kind] += bytes;
	drawing->run = is_free(kind) ? drawing->run + extent->pages : 0;
	if (drawing->run * HEAP_PAGE > picture->largest_free)
		picture->largest_free = drawing->run * HEAP_PAGE;
	if (picture->nextents < drawing->room)
		picture->extents[picture->nextents] = (struct picture_extent){kind, *extent};
	picture->nextents++;
	add_pages(drawing, kind, extent->pages, (double)bytes / extent->pages, picture->nextents);
}

uint64_t
picture_pages(const struct cto_view *view)
{
	struct survey survey;

	if (!cto_view_survey(view, &survey))
		return 0;
	return survey.layout.pages_off / HEAP_PAGE + survey.layout.npages;
}

bool
picture_make(const struct cto_view *view, uint64_t pages_per_cell, uint32_t extents, struct picture *out)
{
	struct drawing drawing = {.picture = out, .room = extents};
	struct survey_extent extent = {0};
	struct progress progress;
	struct survey survey;

	*out = (struct picture){.pages = picture_pages(view), .pages_per_cell = pages_per_cell};
	errno = 0;
	if (!cto_view_survey(view, &survey))
		return false;
	out->ncells = (out->pages + pages_per_cell - 1) / pages_per_cell;
	out->cells = calloc(out->ncells, sizeof(*out->cells));
	out->extents = calloc(extents, sizeof(*out->extents));
	if (out->cells == NULL || out->extents == NULL) {
		picture_free(out);
		return false;
	}
	extent.pages = (uint32_t)(survey.layout.pages_off / HEAP_PAGE);
	add_extent(&drawing, PICTURE_TABLES, &extent);
	progress_begin(&progress, "reading", survey.layout.npages);
	while (survey_next(&survey, &extent)) {
		progress_step(&progress, extent.page);
		add_extent(&drawing, kind_of(&extent), &extent);
	}
	progress_end(&progress);
	if (drawing.page % pages_per_cell != 0)
		finish_cell(&drawing);
	if (out->nextents > extents) {
		free(out->extents);
		out->extents = NULL;
	}
	return true;
}

void
picture_free(struct picture *picture)
{
	free(picture->cells);
	free(picture->extents);
	picture->cells = NULL;
	picture->extents = NULL;
}
