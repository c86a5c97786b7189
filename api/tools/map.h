/* map.h -- a picture of a pool, drawn */
#ifndef API_TOOLS_MAP_H
#define API_TOOLS_MAP_H

#include <stdbool.h>
#include <stdio.h>

#include "api/tools/picture.h"

/* Both set *lost to the number of pages that are in use by nothing: in a pool that was closed, damage. */

/* Writes SVG whose rows are `width` pixels wide. False: no memory; else ask ferror(out). */
bool map_svg(const struct cto_view *view, const char *path, unsigned width, FILE *out, uint64_t *lost);

struct map_style {
	bool colour;  /* escape sequences of terminals with 256 colours */
	bool unicode; /* block elements, in UTF-8 */
};

/* Writes lines with `width` cells each. False: no memory. */
bool map_text(const struct cto_view *view, const char *path, unsigned width, const struct map_style *style, FILE *out,
	      uint64_t *lost);

#endif
