/* map_svg.c -- a picture of a pool as SVG
 *
 * Rows of cells, lowest addresses at the top left. A cell is pale in the colour of what it holds and solid from below as
 * far as that is in use. Where a cell is one page, extents show one by one and say what they are when pointed at; in
 * larger pools cells are two pixels wide and sum up. Cells that look alike become one rectangle, and all rectangles of a
 * colour one path: the file stays small whatever the pool's size.
 *
 * Media:  reads, through the survey.
 * Fails:  by false.
 */
#include "api/tools/map.h"

#include <inttypes.h>
#include <string.h>

#include "api/tools/text.h"

#define LEFT 96u
#define TOP 84u
#define RIGHT 24u
#define ROW 18u   /* height */
#define PITCH 22u /* from row to row */
#define MAX_ROWS 40u
#define MIN_PER_ROW 128u  /* pages */
#define STEPS 6u          /* of a solid height */
#define MAX_TITLES 20000u /* extents that are told one by one */
#define LEGEND_ROWS 5u

static const struct {
	const char *solid, *pale;
} colours[PICTURE_KINDS] = {
	[PICTURE_TABLES] = {"#5b6770", "#5b6770"},      [PICTURE_SLAB_64] = {"#d8b400", "#f7eeb8"},
	[PICTURE_SLAB_256] = {"#7ab52e", "#dcefc4"},    [PICTURE_SLAB_1K] = {"#1f9e77", "#c5e8dc"},
	[PICTURE_SLAB_4K] = {"#1b87a8", "#c4e3ec"},     [PICTURE_SLAB_16K] = {"#3b5fae", "#cdd7ee"},
	[PICTURE_SLAB_32K] = {"#6a3d9a", "#ddd0ea"},    [PICTURE_BLOCK_1M] = {"#f0853a", "#fbdcc6"},
	[PICTURE_BLOCK_LARGE] = {"#c2410c", "#f3c9b8"}, [PICTURE_FREE] = {"#d5dade", "#d5dade"},
	[PICTURE_HOLE] = {"url(#hole)", "url(#hole)"},  [PICTURE_UNUSED] = {"#f1f3f5", "#f1f3f5"},
	[PICTURE_LOST] = {"#e11d2e", "#e11d2e"},
};

struct svg {
	FILE *out;
	const struct picture *picture;
	unsigned cells_per_row;
	unsigned cell_width;
	unsigned rows;
};

/* Text of XML; bytes that are no character become question marks. */
static void
put_text(FILE *out, const char *text)
{
	const uint8_t *bytes = (const uint8_t *)text;

	for (size_t n = strlen(text), length; n != 0; n -= length, bytes += length) {
		length = text_character(bytes, n);
		if (length == 0) {
			fputc('?', out);
			length = 1;
		} else if (strchr("<>&\"", bytes[0]) != NULL) {
			fprintf(out, "&#%u;", bytes[0]);
		} else {
			fwrite(bytes, 1, length, out);
		}
	}
}

/* --- cells ---------------------------------------------------------------------------------------------------- */

static bool
has_steps(unsigned kind)
{
	return kind >= PICTURE_SLAB_64 && kind <= PICTURE_BLOCK_LARGE;
}

/* Pixels of a cell that are solid; a little of something is not nothing, and almost all is not all. */
static unsigned
solid_height(const struct picture_cell *cell)
{
	unsigned step = (cell->fill * STEPS + 127) / 255;

	if (!has_steps(cell->kind))
		return ROW;
	if (step == 0 && cell->fill != 0)
		step = 1;
	if (step == STEPS && cell->fill < 250)
		step = STEPS - 1;
	return step * ROW / STEPS;
}

/* End of the run of cells from `at` on that are one rectangle. */
static uint64_t
run_end(const struct svg *svg, uint64_t at)
{
	const struct picture_cell *cells = svg->picture->cells;
	uint64_t row_end = (at / svg->cells_per_row + 1) * svg->cells_per_row, end = at + 1;

	if (row_end > svg->picture->ncells)
		row_end = svg->picture->ncells;
	while (end < row_end && cells[end].kind == cells[at].kind &&
	       solid_height(&cells[end]) == solid_height(&cells[at]) &&
	       (svg->picture->extents == NULL || cells[end].extent == cells[at].extent))
		end++;
	return end;
}

/* The path of all rectangles of a kind: the whole cells, or their solid parts. */
static void
put_kind(const struct svg *svg, unsigned kind, bool solid)
{
	const struct picture *picture = svg->picture;
	bool begun = false;

	for (uint64_t at = 0, end; at < picture->ncells; at = end) {
		unsigned height = solid ? solid_height(&picture->cells[at]) : ROW;
		uint64_t x, y;
		unsigned width;

		end = run_end(svg, at);
		if (picture->cells[at].kind != kind || height == 0)
			continue;
		x = LEFT + at % svg->cells_per_row * svg->cell_width;
		y = TOP + at / svg->cells_per_row * PITCH + ROW - height;
		width = (unsigned)(end - at) * svg->cell_width;
		if (svg->cell_width >= 4 && has_steps(kind))
			width--; /* extents show apart */
		if (!begun)
			fprintf(svg->out, "<path fill=\"%s\" d=\"", solid ? colours[kind].solid : colours[kind].pale);
		begun = true;
		fprintf(svg->out, "M%" PRIu64 " %" PRIu64 "h%uv%uh-%uz", x, y, width, height, width);
	}
	if (begun)
		fputs("\"/>\n", svg->out);
}

/* What an extent is, for who points at it. */
static void
put_title(const struct svg *svg, const struct picture_extent *one)
{
	char size[TEXT_SIZE_MAX], slot[TEXT_SIZE_MAX];
	const struct survey_extent *extent = &one->extent;

	fprintf(svg->out, "<title>0x%" PRIx64 ": ", extent->offset);
	text_size(size, (uint64_t)extent->pages * HEAP_PAGE);
	if (extent->kind == SURVEY_SLAB && one->kind != PICTURE_TABLES)
		fprintf(svg->out, "slab of %s, %" PRIu32 " of %" PRIu32 " slots of %s in use", size, extent->used,
			extent->nslots, text_size(slot, extent->slot_size));
	else if (one->kind == PICTURE_BLOCK_1M || one->kind == PICTURE_BLOCK_LARGE)
		fprintf(svg->out, "block of %s", size);
	else
		fprintf(svg->out, "%s, %s", picture_name(one->kind), size);
	fputs("</title>", svg->out);
}

/* Invisible, above what they tell of. */
static void
put_titles(const struct svg *svg)
{
	const struct picture *picture = svg->picture;

	fputs("<g fill=\"#fff\" fill-opacity=\"0\">\n", svg->out);
	for (uint64_t at = 0, end; at < picture->ncells; at = end) {
		end = run_end(svg, at);
		if (picture->cells[at].extent == 0)
			continue;
		fprintf(svg->out, "<rect x=\"%" PRIu64 "\" y=\"%" PRIu64 "\" width=\"%" PRIu64 "\" height=\"%u\">",
			LEFT + at % svg->cells_per_row * svg->cell_width, TOP + at / svg->cells_per_row * PITCH,
			(end - at) * svg->cell_width, ROW);
		put_title(svg, &picture->extents[picture->cells[at].extent - 1]);
		fputs("</rect>\n", svg->out);
	}
	fputs("</g>\n", svg->out);
}

/* --- around them ---------------------------------------------------------------------------------------------- */

static void
put_heading(const struct svg *svg, const struct cto_view *view, const char *path)
{
	char size[TEXT_SIZE_MAX], used[TEXT_SIZE_MAX], largest[TEXT_SIZE_MAX], cell[TEXT_SIZE_MAX];
	uint64_t bytes = 0;

	for (int kind = PICTURE_SLAB_64; kind <= PICTURE_BLOCK_LARGE; kind++)
		bytes += svg->picture->bytes[kind];
	fprintf(svg->out, "<text x=\"%u\" y=\"34\" class=\"h\">", LEFT);
	put_text(svg->out, path);
	fprintf(svg->out, "</text>\n<text x=\"%u\" y=\"58\">", LEFT);
	fprintf(svg->out,
		"%s, %s in use (%.1f %%), largest free block %s; a cell is %s, filled as far as it is in "
		"use%s</text>\n",
		text_size(size, view->front.desc.size), text_size(used, bytes),
		(double)bytes * 100 / (double)view->front.desc.size, text_size(largest, svg->picture->largest_free),
		text_size(cell, svg->picture->pages_per_cell * HEAP_PAGE),
		view->open ? "; not closed: blocks in caches count as in use" : "");
}

static void
put_labels(const struct svg *svg)
{
	char text[TEXT_SIZE_MAX];

	fputs("<g text-anchor=\"end\" class=\"l\">\n", svg->out);
	for (unsigned row = 0; row < svg->rows; row += 2) {
		uint64_t offset = (uint64_t)row * svg->cells_per_row * svg->picture->pages_per_cell * HEAP_PAGE;

		fprintf(svg->out, "<text x=\"%u\" y=\"%u\">%s</text>\n", LEFT - 10, TOP + row * PITCH + 13,
			offset == 0 ? "0" : text_size(text, offset));
	}
	fputs("</g>\n", svg->out);
}

static void
put_legend(const struct svg *svg, unsigned top, unsigned column)
{
	char size[TEXT_SIZE_MAX], used[TEXT_SIZE_MAX];
	unsigned n = 0;

	for (unsigned kind = PICTURE_TABLES; kind < PICTURE_KINDS; kind++) {
		uint64_t bytes = svg->picture->total[kind] * HEAP_PAGE;
		unsigned x = LEFT + n / LEGEND_ROWS * column, y = top + n % LEGEND_ROWS * 24;

		if (bytes == 0)
			continue;
		n++;
		fprintf(svg->out, "<rect x=\"%u\" y=\"%u\" width=\"18\" height=\"%u\" fill=\"%s\"/>\n", x, y, ROW,
			colours[kind].pale);
		if (has_steps(kind)) {
			unsigned height = solid_height(&(struct picture_cell){
				.kind = (uint8_t)kind,
				.fill = (uint8_t)((double)svg->picture->bytes[kind] * 255 / (double)bytes),
			});
			fprintf(svg->out, "<rect x=\"%u\" y=\"%u\" width=\"18\" height=\"%u\" fill=\"%s\"/>\n", x,
				y + ROW - height, height, colours[kind].solid);
		}
		fprintf(svg->out, "<text x=\"%u\" y=\"%u\">%s <tspan class=\"l\">%s", x + 26, y + 13,
			picture_name((enum picture_kind)kind), text_size(size, bytes));
		if (has_steps(kind) && kind < PICTURE_BLOCK_1M)
			fprintf(svg->out, ", %s used", text_size(used, svg->picture->bytes[kind]));
		fputs("</tspan></text>\n", svg->out);
	}
}

static unsigned
legend_columns(const struct picture *picture)
{
	unsigned n = 0;

	for (int kind = PICTURE_TABLES; kind < PICTURE_KINDS; kind++)
		n += picture->total[kind] != 0;
	return (n + LEGEND_ROWS - 1) / LEGEND_ROWS;
}

static uint64_t
power_of_two(uint64_t least)
{
	uint64_t n = 1;

	while (n < least)
		n *= 2;
	return n;
}

bool
map_svg(const struct cto_view *view, const char *path, unsigned width, FILE *out, uint64_t *lost)
{
	uint64_t pages = picture_pages(view), per_row = power_of_two((pages + MAX_ROWS - 1) / MAX_ROWS);
	struct picture picture;
	struct svg svg = {.out = out, .picture = &picture};
	unsigned columns, legend_top, legend_width = 330;

	if (per_row < MIN_PER_ROW)
		per_row = MIN_PER_ROW;
	for (svg.cells_per_row = MIN_PER_ROW; svg.cells_per_row < per_row && svg.cells_per_row * 4 <= width;)
		svg.cells_per_row *= 2;
	svg.cell_width = width / svg.cells_per_row;
	if (!picture_make(view, per_row / svg.cells_per_row, MAX_TITLES, &picture))
		return false;
	svg.rows = (unsigned)((picture.ncells + svg.cells_per_row - 1) / svg.cells_per_row);
	columns = legend_columns(&picture);
	legend_top = TOP + svg.rows * PITCH + 24;
	width = svg.cells_per_row * svg.cell_width;
	if (columns > 1 && width / columns > legend_width)
		legend_width = width / columns;
	if (width < columns * legend_width)
		width = columns * legend_width;
	fprintf(out,
		"<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%u\" height=\"%u\" font-family=\"DejaVu Sans, "
		"Verdana, "
		"sans-serif\" font-size=\"13\" fill=\"#20262c\">\n"
		"<style>.h{font-size:18px;font-weight:bold}.l{font-size:12px;fill:#66707a}</style>\n"
		"<defs><pattern id=\"hole\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" "
		"patternTransform=\"rotate(45)\"><rect width=\"6\" height=\"6\" fill=\"#fff\"/><rect width=\"1.5\" "
		"height=\"6\" "
		"fill=\"#c3cad0\"/></pattern></defs>\n"
		"<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n",
		LEFT + width + RIGHT, legend_top + LEGEND_ROWS * 24 + 12);
	put_heading(&svg, view, path);
	put_labels(&svg);
	for (unsigned kind = PICTURE_TABLES; kind < PICTURE_KINDS; kind++) {
		put_kind(&svg, kind, false);
		if (has_steps(kind))
			put_kind(&svg, kind, true);
	}
	if (picture.extents != NULL)
		put_titles(&svg);
	put_legend(&svg, legend_top, legend_width);
	fputs("</svg>\n", out);
	*lost = picture.total[PICTURE_LOST];
	picture_free(&picture);
	return true;
}
