/* dax.h -- device DAX: what sysfs knows of a character device
 *
 * Errors: 0, or an errno value; the message is set.
 */
#ifndef API_COMMON_DAX_H
#define API_COMMON_DAX_H

#include <stdbool.h>
#include <stddef.h>

/* Where sysfs is mounted, "/sys". Tests point it at a tree of their own, before anything asked. */
extern const char *dax_sysfs;

struct dax {
	size_t size;  /* bytes */
	size_t align; /* of a mapping; bytes, a power of two; 0: it does not say */
	int region;   /* number of the nd region that holds it; -1: none */
};

/* Is the character device a device DAX? Errors: sysfs does not know the device. */
int dax_recognise(const char *path, unsigned major, unsigned minor, bool *is_dax);
/* Errors: the size cannot be read. */
int dax_read(const char *path, unsigned major, unsigned minor, struct dax *dax);

/* Has the region write out what its own buffers hold. A region that needs no such thing, or does not let us, is fine. */
void dax_deep_flush(int region);

#endif
