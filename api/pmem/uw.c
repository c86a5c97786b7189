/* uw.c -- the names with U and W: the plain ones with text in UTF-8 and in wchar_t
 *
 * Owns:   per thread a pointer and, from the first wide message on, WIDE_SIZE bytes of memory.
 * Rules:  W1  the symbols are weak: lists of the published library's own symbols do not show them.
 *         W2  a path is converted strictly or refused; a message is converted whatever it holds, U+FFFD standing for what
 *             is no UTF-8.
 * Locks:  none; the buffer is its thread's alone.
 * Media:  process only.
 * Fails:  without memory for the buffer a wide message is one constant text.
 */
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "api/common/error.h"
#include "api/common/os.h"
#include "api/pmem/public.h"

#define WEAK __attribute__((weak))

#define WIDE_SIZE (ERROR_SIZE * sizeof(wchar_t))
#define REPLACEMENT L'\ufffd'

static _Thread_local wchar_t *wide __attribute__((tls_model("initial-exec")));
static wchar_t no_room[] = L"no memory for the message";
static pthread_key_t key;
static bool have_key; /* constant after the constructor */

static void
release(void *buffer)
{
	wide = NULL;
	sys_unmap(buffer, WIDE_SIZE);
}

__attribute__((constructor)) static void
wide_init(void)
{
	have_key = pthread_key_create(&key, release) == 0;
}

__attribute__((destructor)) static void
wide_fini(void)
{
	if (have_key)
		pthread_key_delete(key);
	have_key = false;
}

static wchar_t *
wide_buffer(void)
{
	int error = errno;

	if (wide == NULL) {
		wide = sys_map_memory(WIDE_SIZE);
		if (wide != NULL && have_key && pthread_setspecific(key, wide) != 0) {
			sys_unmap(wide, WIDE_SIZE);
			wide = NULL;
		}
	}
	errno = error;
	return wide;
}

/* --- conversions -------------------------------------------------------------------------------------------------- */

/* The character at *text, which moves on behind it; REPLACEMENT for a byte that begins none. */
static wchar_t
decode(const unsigned char **text)
{
	static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
	const unsigned char *p = *text;
	uint32_t c = *p++;
	int more = c < 0x80 ? 0 : c >= 0xf0 && c < 0xf5 ? 3 : c >= 0xe0 && c < 0xf0 ? 2 : c >= 0xc2 && c < 0xe0 ? 1 : -1;

	*text = p;
	if (more <= 0)
		return more == 0 ? (wchar_t)c : REPLACEMENT;
	c &= 0x3fu >> more;
	for (int i = 0; i < more; i++, p++) {
		if ((*p & 0xc0) != 0x80)
			return REPLACEMENT;
		c = c << 6 | (*p & 0x3f);
	}
	if (c < least[more] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
		return REPLACEMENT;
	*text = p;
	return (wchar_t)c;
}

static const wchar_t *
wide_message(const char *message)
{
	const unsigned char *p = (const unsigned char *)message;
	wchar_t *out = wide_buffer();
	size_t n = 0;

	if (out == NULL)
		return no_room;
	while (*p != '\0' && n < ERROR_SIZE - 1)
		out[n++] = decode(&p);
	out[n] = L'\0';
	return out;
}

/* 0, or an errno value. */
static int
encode_path(const wchar_t *path, char *out, size_t size)
{
	size_t n = 0;

	for (; *path != L'\0'; path++) {
		uint32_t c = (uint32_t)*path;

		if (c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
			return EINVAL;
		if (n + 4 >= size)
			return ENAMETOOLONG;
		if (c < 0x80) {
			out[n++] = (char)c;
		} else if (c < 0x800) {
			out[n++] = (char)(0xc0 | c >> 6);
			out[n++] = (char)(0x80 | (c & 0x3f));
		} else if (c < 0x10000) {
			out[n++] = (char)(0xe0 | c >> 12);
			out[n++] = (char)(0x80 | (c >> 6 & 0x3f));
			out[n++] = (char)(0x80 | (c & 0x3f));
		} else {
			out[n++] = (char)(0xf0 | c >> 18);
			out[n++] = (char)(0x80 | (c >> 12 & 0x3f));
			out[n++] = (char)(0x80 | (c >> 6 & 0x3f));
			out[n++] = (char)(0x80 | (c & 0x3f));
		}
	}
	out[n] = '\0';
	return 0;
}

/* --- U ------------------------------------------------------------------------------------------------------------ */

WEAK void *
pmem_map_fileU(const char *path, size_t len, int flags, mode_t mode, size_t *mapped_lenp, int *is_pmemp)
{
	return pmem_map_file(path, len, flags, mode, mapped_lenp, is_pmemp);
}

WEAK const char *
pmem_check_versionU(unsigned major_required, unsigned minor_required)
{
	return pmem_check_version(major_required, minor_required);
}

WEAK const char *
pmem_errormsgU(void)
{
	return pmem_errormsg();
}

/* --- W ------------------------------------------------------------------------------------------------------------ */

WEAK void *
pmem_map_fileW(const wchar_t *path, size_t len, int flags, mode_t mode, size_t *mapped_lenp, int *is_pmemp)
{
	char text[PATH_MAX];
	int error;

	if (path == NULL) {
		ERROR("path is NULL");
		errno = EINVAL;
		return NULL;
	}
	error = encode_path(path, text, sizeof(text));
	if (error != 0) {
		errno = error;
		ERROR_ERRNO("the path cannot be put into UTF-8");
		return NULL;
	}
	return pmem_map_file(text, len, flags, mode, mapped_lenp, is_pmemp);
}

WEAK const wchar_t *
pmem_check_versionW(unsigned major_required, unsigned minor_required)
{
	const char *message = pmem_check_version(major_required, minor_required);

	return message != NULL ? wide_message(message) : NULL;
}

WEAK const wchar_t *
pmem_errormsgW(void)
{
	return wide_message(pmem_errormsg());
}
