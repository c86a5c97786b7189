/* dax.c -- device DAX: what sysfs knows of a character device
 *
 * Owns:   nothing.
 * Rules:  D1  sysfs alone is asked, at dax_sysfs; links are read, not followed into other trees.
 *         D2  a region counts only when a directory region<N> above the device in the tree of devices holds a file
 *             deep_flush: the number of a dax_region may be that of something else.
 * Locks:  none.
 * Media:  none.
 * Fails:  with a message; nothing is kept open.
 */
#include "api/common/dax.h"

#include <ctype.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "api/common/error.h"
#include "api/common/format.h"
#include "api/common/log.h"
#include "api/common/os.h"

const char *dax_sysfs = "/sys";

#define PATH_SIZE 320 /* sysfs's own depth is far below; what is longer is cut, and then not found */

static const char *
last_part(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash != NULL ? slash + 1 : path;
}

/* Reads a number; decimal, or hexadecimal with 0x as kernels before 4.9 wrote alignments. */
static bool
read_number(const char *path, size_t *value)
{
	char text[32], *end;
	unsigned long long n;

	if (sys_read_small(path, text, sizeof(text)) != 0 || !isdigit((unsigned char)text[0]))
		return false;
	errno = 0;
	n = strtoull(text, &end, 0);
	if (errno != 0 || *end != '\0' || n > SIZE_MAX)
		return false;
	*value = (size_t)n;
	return true;
}

int
dax_recognise(const char *path, unsigned major, unsigned minor, bool *is_dax)
{
	char link[PATH_SIZE], target[PATH_SIZE];

	format(link, sizeof(link), "%s/dev/char/%u:%u/subsystem", dax_sysfs, major, minor);
	if (sys_read_link(link, target, sizeof(target)) != 0) {
		int error = errno;

		ERROR_ERRNO("%s: cannot tell the kind of character device: %s", path, link);
		return error;
	}
	*is_dax = strcmp(last_part(target), "dax") == 0;
	LOG(4, "%s: %s, device DAX: %d", path, target, *is_dax);
	return 0;
}

/* Number behind "region" when that is all of the name; -1. */
static int
region_number(const char *name)
{
	unsigned long n;
	char *end;

	if (strncmp(name, "region", 6) != 0 || !isdigit((unsigned char)name[6]))
		return -1;
	n = strtoul(name + 6, &end, 10);
	return *end == '\0' && n <= 99999 ? (int)n : -1;
}

static void
region_path(char *path, size_t size, int region)
{
	format(path, size, "%s/bus/nd/devices/region%d/deep_flush", dax_sysfs, region);
}

int
dax_read(const char *path, unsigned major, unsigned minor, struct dax *dax)
{
	char name[PATH_SIZE], device[PATH_SIZE], text[8];
	int error = errno;
	char *slash;

	*dax = (struct dax){0, 0, -1};
	format(name, sizeof(name), "%s/dev/char/%u:%u/size", dax_sysfs, major, minor);
	if (!read_number(name, &dax->size) || dax->size == 0) {
		ERROR("%s: cannot read the size of the device DAX: %s", path, name);
		return EINVAL;
	}
	format(name, sizeof(name), "%s/dev/char/%u:%u/align", dax_sysfs, major, minor);
	read_number(name, &dax->align);

	/* upwards from the device itself: dev/char holds links into the tree of devices, relative to itself */
	format(name, sizeof(name), "%s/dev/char/%u:%u", dax_sysfs, major, minor);
	if (sys_read_link(name, device, sizeof(device)) != 0)
		device[0] = '\0';
	while ((slash = strrchr(device, '/')) != NULL) {
		size_t n = (size_t)format(name, sizeof(name), "%s/dev/char/%s", dax_sysfs, device);
		int region = region_number(slash + 1);

		if (n + sizeof("/dax_region/align") > sizeof(name))
			break;
		if (dax->align == 0) {
			strcpy(name + n, "/dax_region/align");
			read_number(name, &dax->align);
		}
		if (dax->region < 0 && region >= 0) {
			strcpy(name + n, "/deep_flush");
			if (sys_read_small(name, text, sizeof(text)) == 0)
				dax->region = region;
		}
		*slash = '\0';
	}
	if ((dax->align & (dax->align - 1)) != 0)
		dax->align = 0;
	LOG(4, "%s: size %zu, align %zu, region %d", path, dax->size, dax->align, dax->region);
	errno = error;
	return 0;
}

void
dax_deep_flush(int region)
{
	char path[PATH_SIZE], text[8];
	int error = errno;

	region_path(path, sizeof(path), region);
	/* "0": the region has no buffers of its own */
	if (sys_read_small(path, text, sizeof(text)) == 0 && strcmp(text, "0") != 0) {
		LOG(4, "%s: 1", path);
		sys_poke(path, "1");
	}
	errno = error;
}
