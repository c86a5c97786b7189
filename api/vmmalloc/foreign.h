/* foreign.h -- blocks that came from the C library's own malloc
 *
 * They reach us from code that does not see our names: namespaces made by dlmopen(3), libraries opened with
 * RTLD_DEEPBIND. What is no block of libc's either is libc's to diagnose. Where there is no libc malloc (a static
 * program) each call stops the process with one line.
 */
#ifndef API_VMMALLOC_FOREIGN_H
#define API_VMMALLOC_FOREIGN_H

#include <stddef.h>

/* Once, from the constructor: finds libc's functions, so that later calls take no lock of the dynamic linker. */
void foreign_init(void);

void foreign_free(void *p);
void *foreign_realloc(void *p, size_t size); /* stays libc's; NULL: no room */
size_t foreign_usable_size(const void *p);

#endif
