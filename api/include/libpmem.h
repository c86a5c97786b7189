/* SPDX-License-Identifier: BSD-3-Clause */
/* libpmem.h -- files and devices of persistent memory mapped, copied to, and made durable
 *
 * Every function may be called by any thread, at any time. Addresses and lengths need no alignment where nothing is
 * said of it; a length of 0 does nothing. See libpmem(7).
 */
#ifndef LIBPMEM_H
#define LIBPMEM_H 1

#include <sys/types.h>

/* PMDK_UTF8_API (NVML_UTF8_API): pmem_map_file, pmem_check_version and pmem_errormsg stand for the names with U, whose
 * text is UTF-8. PMDK_WCHAR_API: for the names with W, whose text is wchar_t. */
#if defined(PMDK_UTF8_API) || defined(NVML_UTF8_API) || defined(PMDK_WCHAR_API)
#include <stddef.h>
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* The interface that this header describes. */
#define PMEM_MAJOR_VERSION 1
#define PMEM_MINOR_VERSION 1

#define PMEM_MIN_PART ((size_t)(1024 * 1024 * 2)) /* bytes; for the libraries above */

/* Flags of pmem_map_file(). */
#define PMEM_FILE_CREATE (1 << 0)  /* make the file, or set its length */
#define PMEM_FILE_EXCL (1 << 1)    /* with CREATE: it must not be there yet */
#define PMEM_FILE_SPARSE (1 << 2)  /* with CREATE: do not allocate its blocks */
#define PMEM_FILE_TMPFILE (1 << 3) /* with CREATE: path is a directory, for a file without a name */

/* Flags of pmem_memmove(), pmem_memcpy() and pmem_memset(). */
#define PMEM_F_MEM_NODRAIN (1U << 0)     /* pmem_drain() follows later */
#define PMEM_F_MEM_NONTEMPORAL (1U << 1) /* past the cache */
#define PMEM_F_MEM_TEMPORAL (1U << 2)    /* through the cache */
#define PMEM_F_MEM_WC (1U << 3)          /* write combining: as NONTEMPORAL, unless caches are persistent */
#define PMEM_F_MEM_WB (1U << 4)          /* write back: as TEMPORAL */
#define PMEM_F_MEM_NOFLUSH (1U << 5)     /* copy only; flush and drain follow later */

#define PMEM_F_MEM_VALID_FLAGS \
	(PMEM_F_MEM_NODRAIN | PMEM_F_MEM_NONTEMPORAL | PMEM_F_MEM_TEMPORAL | PMEM_F_MEM_WC | PMEM_F_MEM_WB | \
	PMEM_F_MEM_NOFLUSH)

#if defined(PMDK_UTF8_API) || defined(NVML_UTF8_API) || defined(PMDK_WCHAR_API)
void *pmem_map_fileU(const char *path, size_t len, int flags, mode_t mode, size_t *mapped_lenp, int *is_pmemp);
void *pmem_map_fileW(const wchar_t *path, size_t len, int flags, mode_t mode, size_t *mapped_lenp, int *is_pmemp);
const char *pmem_check_versionU(unsigned major_required, unsigned minor_required);
const wchar_t *pmem_check_versionW(unsigned major_required, unsigned minor_required);
const char *pmem_errormsgU(void);
const wchar_t *pmem_errormsgW(void);
#ifdef PMDK_WCHAR_API
#define pmem_map_file pmem_map_fileW
#define pmem_check_version pmem_check_versionW
#define pmem_errormsg pmem_errormsgW
#else
#define pmem_map_file pmem_map_fileU
#define pmem_check_version pmem_check_versionU
#define pmem_errormsg pmem_errormsgU
#endif
#else
/* Maps a file or a device DAX for reading and writing. len: bytes to create with PMEM_FILE_CREATE, else 0: all of it.
 * mode: of a file made new. *mapped_lenp: bytes mapped; *is_pmemp: what pmem_is_pmem() says; either may be NULL.
 * NULL and errno; a failed call leaves no file that it made. The mapping is the caller's, to end by pmem_unmap(). */
void *pmem_map_file(const char *path, size_t len, int flags, mode_t mode, size_t *mapped_lenp, int *is_pmemp);

/* NULL when the library can serve a program that was compiled for that version, else a message. */
const char *pmem_check_version(unsigned major_required, unsigned minor_required);

/* The calling thread's last message; "" before the first. */
const char *pmem_errormsg(void);
#endif

/* Ends the mapping of [addr, addr + len), or a part of it. addr: a multiple of the page size. 0, or -1 and errno. */
int pmem_unmap(void *addr, size_t len);

/* 1: the whole range is persistent memory that pmem_map_file() mapped; 0: use pmem_msync(). */
int pmem_is_pmem(const void *addr, size_t len);

/* Makes stores to the range durable: flush and drain. For persistent memory only. */
void pmem_persist(const void *addr, size_t len);
/* The same for any mapped file, by msync(2). 0, or -1 and errno. */
int pmem_msync(const void *addr, size_t len);
/* Starts; pmem_drain() waits. */
void pmem_flush(const void *addr, size_t len);
void pmem_drain(void);
/* Always 0. */
int pmem_has_hw_drain(void);
/* 1: the platform flushes CPU caches on power failure; 0: it does not; -1 and errno. */
int pmem_has_auto_flush(void);

/* To the smallest failure domain the platform has, whatever its caches promise. 0, or -1 and errno. */
void pmem_deep_flush(const void *addr, size_t len);
int pmem_deep_drain(const void *addr, size_t len);
int pmem_deep_persist(const void *addr, size_t len);

/* memmove(3), memcpy(3) (here with overlap allowed, too) and memset(3) that also flush, and drain. They return pmemdest.
 * Every 8-byte word at a multiple of 8 inside the destination changes by one store. */
void *pmem_memmove_persist(void *pmemdest, const void *src, size_t len);
void *pmem_memcpy_persist(void *pmemdest, const void *src, size_t len);
void *pmem_memset_persist(void *pmemdest, int c, size_t len);
/* ... and leave the drain to the caller. */
void *pmem_memmove_nodrain(void *pmemdest, const void *src, size_t len);
void *pmem_memcpy_nodrain(void *pmemdest, const void *src, size_t len);
void *pmem_memset_nodrain(void *pmemdest, int c, size_t len);
/* ... as PMEM_F_MEM_* say. Unknown flags are ignored. */
void *pmem_memmove(void *pmemdest, const void *src, size_t len, unsigned flags);
void *pmem_memcpy(void *pmemdest, const void *src, size_t len, unsigned flags);
void *pmem_memset(void *pmemdest, int c, size_t len, unsigned flags);

#ifdef __cplusplus
}
#endif

#endif
