/* set.h -- what a path names: one pool file, or the files that a pool set lists
 *
 * Errors: 0 or an errno value; message and errno set.
 */
#ifndef API_PMEMCTO_SET_H
#define API_PMEMCTO_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct set_part {
	const char *path;
	uint64_t size; /* bytes that its file has or is to have; POOLSET_AUTO: a device's */
};

struct set {
	bool is_set;        /* false: one file, of the path that was given and of any size */
	bool single_header; /* OPTION SINGLEHDR */
	uint64_t room;      /* bytes of addresses wanted for the pool; 0: no more than it has */
	size_t n;
	struct set_part *part;
	size_t memory; /* bytes that `part` and the paths take */
};

/* Errors: also when the path cannot be opened for reading, as nothing can be made of it then; ENOENT: it is not there. Of a
 * single file nothing more is looked at. Then set_unload(). */
int set_load(const char *path, struct set *out);
void set_unload(struct set *set); /* errno stays */

#endif
