/* public.h -- libpmem's published prototypes, marked as what the library exports */
#ifndef API_PMEM_PUBLIC_H
#define API_PMEM_PUBLIC_H

#include <stddef.h>

#pragma GCC visibility push(default)
#include "api/include/libpmem.h"

/* The names that libpmem.h shows when a program asks for the other text forms; here beside the plain ones. */
void *pmem_map_fileU(const char *path, size_t len, int flags, mode_t mode, size_t *mapped_lenp, int *is_pmemp);
void *pmem_map_fileW(const wchar_t *path, size_t len, int flags, mode_t mode, size_t *mapped_lenp, int *is_pmemp);
const char *pmem_check_versionU(unsigned major_required, unsigned minor_required);
const wchar_t *pmem_check_versionW(unsigned major_required, unsigned minor_required);
const char *pmem_errormsgU(void);
const wchar_t *pmem_errormsgW(void);
#pragma GCC visibility pop

#endif
