/* remove.h -- pools taken away: only whole, only while nobody has them open */
#ifndef API_TOOLS_REMOVE_H
#define API_TOOLS_REMOVE_H

#include <stdbool.h>

struct removal {
	const char *command; /* for messages */
	bool missing_is_fine;
	bool any_file; /* regular files go that are no pool */
	bool ask;
	bool verbose;  /* says what went */
	bool set_file; /* of a pool set, the file that lists its parts goes too */
};

/* All files of the pool that `path` names, or none. 0, or TOOL_NEGATIVE after a line on stderr. */
int remove_pool(const struct removal *how, const char *path);

#endif
