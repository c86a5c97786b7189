/* map_text.c -- a picture of a pool in characters
 *
 * Media:  reads, through the survey.
 * Fails:  by false.
 */
#include "api/tools/map.h"

#include <inttypes.h>

#include "api/tools/text.h"

#define MAX_ROWS 24u

/* Letters are small while a cell is less than half in use. */
static const char letters[PICTURE_KINDS + 1] = " TABCDEFRL.o-!";

static const uint8_t colours[PICTURE_KINDS] = {
	/* of the 256 that xterm has */
	[PICTURE_TABLES] = 242,      [PICTURE_SLAB_64] = 220, [PICTURE_SLAB_256] = 106, [PICTURE_SLAB_1K] = 36,
	[PICTURE_SLAB_4K] = 38,      [PICTURE_SLAB_16K] = 68, [PICTURE_SLAB_32K] = 97,  [PICTURE_BLOCK_1M] = 215,
	[PICTURE_BLOCK_LARGE] = 202, [PICTURE_FREE] = 250,    [PICTURE_HOLE] = 246,     [PICTURE_UNUSED] = 240,
	[PICTURE_LOST] = 196,
};

struct canvas {
	FILE *out;
	const struct map_style *style;
	unsigned colour; /* now; 0: the terminal's own */
};

static bool
has_steps(unsigned kind)
{
	return kind >= PICTURE_SLAB_64 && kind <= PICTURE_BLOCK_LARGE;
}

static void
set_colour(struct canvas *canvas, unsigned colour)
{
	if (!canvas->style->colour || colour == canvas->colour)
		return;
	if (colour == 0)
		fputs("\033[0m", canvas->out);
	else
		fprintf(canvas->out, "\033[38;5;%um", colour);
	canvas->colour = colour;
}

static void
put_cell(struct canvas *canvas, const struct picture_cell *cell)
{
	static const char *const heights[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
	char letter = letters[cell->kind];

	set_colour(canvas, colours[cell->kind]);
	if (!canvas->style->unicode)
		fputc(has_steps(cell->kind) && cell->fill < 128 ? letter - 'A' + 'a' : letter, canvas->out);
	else if (has_steps(cell->kind))
		fputs(heights[cell->fill * 7u / 255], canvas->out);
	else
		fputs(cell->kind == PICTURE_TABLES           ? "▒"
			      : cell->kind == PICTURE_FREE   ? "░"
			      : cell->kind == PICTURE_HOLE   ? "·"
			      : cell->kind == PICTURE_UNUSED ? "-"
							     : "!",
		      canvas->out);
}

static void
put_legend(struct canvas *canvas, const struct picture *picture)
{
	char size[TEXT_SIZE_MAX], used[TEXT_SIZE_MAX];

	for (unsigned kind = PICTURE_TABLES; kind < PICTURE_KINDS; kind++) {
		uint64_t bytes = picture->total[kind] * HEAP_PAGE;

		if (bytes == 0)
			continue;
		fputs("  ", canvas->out);
		put_cell(canvas, &(struct picture_cell){.kind = (uint8_t)kind, .fill = 255});
		set_colour(canvas, 0);
		fprintf(canvas->out, "  %-22s %10s", picture_name((enum picture_kind)kind), text_size(size, bytes));
		if (has_steps(kind))
			fprintf(canvas->out, ", %s in use (%.0f %%)", text_size(used, picture->bytes[kind]),
				(double)picture->bytes[kind] * 100 / (double)bytes);
		fputc('\n', canvas->out);
	}
}

bool
map_text(const struct cto_view *view, const char *path, unsigned width, const struct map_style *style, FILE *out,
	 uint64_t *lost)
{
	uint64_t pages = picture_pages(view), per_cell = 1;
	struct canvas canvas = {.out = out, .style = style};
	struct picture picture;
	char size[TEXT_SIZE_MAX], cell[TEXT_SIZE_MAX], largest[TEXT_SIZE_MAX];

	while (pages > per_cell * width * MAX_ROWS)
		per_cell *= 2;
	if (!picture_make(view, per_cell, 0, &picture))
		return false;
	fprintf(out, "%s: %s, a cell is %s, largest free block %s%s\n", path, text_size(size, view->front.desc.size),
		text_size(cell, per_cell * HEAP_PAGE), text_size(largest, picture.largest_free),
		view->open ? "; not closed: blocks in caches count as in use" : "");
	for (uint64_t at = 0; at < picture.ncells; at++) {
		if (at % width == 0)
			fprintf(out, "0x%010" PRIx64 " ", at * per_cell * HEAP_PAGE);
		put_cell(&canvas, &picture.cells[at]);
		if ((at + 1) % width == 0 || at + 1 == picture.ncells) {
			set_colour(&canvas, 0);
			fputc('\n', out);
		}
	}
	put_legend(&canvas, &picture);
	*lost = picture.total[PICTURE_LOST];
	picture_free(&picture);
	return true;
}
