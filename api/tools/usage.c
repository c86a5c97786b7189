/* usage.c -- see usage.h
 *
 * Media:  reads, through the survey.
 * Fails:  by false.
 */
#include "api/tools/usage.h"

#include <string.h>

#include "api/tools/progress.h"

static bool
is_free(enum survey_kind kind)
{
	return kind == SURVEY_FREE || kind == SURVEY_HOLE || kind == SURVEY_UNUSED;
}

bool
usage_count(const struct cto_view *view, struct usage *usage)
{
	struct survey_extent extent;
	struct progress progress;
	struct survey survey;
	uint64_t run = 0, run_at = 0;

	memset(usage, 0, sizeof(*usage));
	if (!cto_view_survey(view, &survey))
		return false;
	usage->tables = survey.layout.pages_off;
	usage->capacity = (uint64_t)survey.layout.npages * HEAP_PAGE;
	progress_begin(&progress, "reading", survey.layout.npages);
	while (survey_next(&survey, &extent)) {
		uint64_t bytes = (uint64_t)extent.pages * HEAP_PAGE;

		progress_step(&progress, extent.page);
		usage->pages[extent.kind] += extent.pages;
		if (!is_free(extent.kind))
			run = 0;
		else if (run == 0)
			run_at = extent.offset;
		if (is_free(extent.kind))
			run += bytes;
		if (run > usage->largest_free) {
			usage->largest_free = run;
			usage->largest_at = run_at;
		}
		if (extent.sc == 0)
			continue;
		struct usage_class *class = &usage->classes[extent.sc];
		class->extents++;
		class->pages += extent.pages;
		class->slots += extent.nslots;
		class->used += extent.used;
		usage->blocks += extent.used;
		usage->bytes += extent.kind == SURVEY_SLAB ? (uint64_t)extent.used * extent.slot_size : bytes;
	}
	progress_end(&progress);
	return true;
}

uint64_t
usage_free(const struct usage *usage)
{
	return (usage->pages[SURVEY_FREE] + usage->pages[SURVEY_HOLE] + usage->pages[SURVEY_UNUSED]) * HEAP_PAGE;
}
