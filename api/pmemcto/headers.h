/* headers.h -- the headers of a pool's parts, taken together
 *
 * Errors: 0 or an errno value; message and errno set.
 */
#ifndef API_PMEMCTO_HEADERS_H
#define API_PMEMCTO_HEADERS_H

#include <stddef.h>

#include "api/pmemcto/media.h"
#include "api/pmemcto/parts.h"

/* Are the headers good, and do they belong together as the set lists them? *fault: what is wrong, for a message, or NULL;
 * then *part: with which one. Errors: they cannot be read. `first` is that of part 0, read before. */
int headers_judge(const struct parts *parts, const struct pool_header_media *first, const char **fault, size_t *part);

/* Is there room for headers? EEXIST: a file that was there before begins with data. */
int headers_expect_none(const struct parts *parts);
/* Makes the files a pool, durably: that of part 0, which is what makes them one, comes last. */
int headers_write(const struct parts *parts);
/* Takes back what headers_write() did, in files that were there before, as far as that is possible; errno stays. */
void headers_clear(const struct parts *parts);
/* One of these files is no part of a pool any more, durably. */
int headers_clear_file(const struct cto_file *file);

#endif
