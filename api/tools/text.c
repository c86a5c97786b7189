/* text.c -- see text.h
 *
 * Media:  none.
 * Fails:  by false.
 */
#include "api/tools/text.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "api/common/poolset.h"

/* --- sizes ---------------------------------------------------------------------------------------------------- */

bool
text_parse_size(const char *text, uint64_t *bytes)
{
	size_t digits = strspn(text, "0123456789");
	char copy[TEXT_SIZE_MAX];

	if (strlen(text) >= sizeof(copy))
		return false;
	strcpy(copy, text);
	if (copy[digits] != '\0' && copy[digits + 1] == '\0' && strchr("kmgtp", copy[digits]) != NULL)
		copy[digits] += 'A' - 'a';
	return poolset_parse_size(copy, strlen(copy), bytes) == NULL;
}

const char *
text_size(char buf[TEXT_SIZE_MAX], uint64_t bytes)
{
	static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	unsigned unit = 0;
	uint64_t whole = bytes, rest = 0;

	while (whole >= 1024) {
		rest = whole % 1024;
		whole /= 1024;
		unit++;
	}
	if (rest == 0 || whole >= 100)
		snprintf(buf, TEXT_SIZE_MAX, "%" PRIu64 " %s", whole, bytes == 1 ? "byte" : units[unit]);
	else
		snprintf(buf, TEXT_SIZE_MAX, "%" PRIu64 ".%" PRIu64 " %s", whole, rest * 10 / 1024, units[unit]);
	return buf;
}

/* --- names ---------------------------------------------------------------------------------------------------- */

size_t
text_character(const uint8_t *bytes, size_t n)
{
	uint32_t value, least;
	size_t length;

	if (n == 0 || bytes[0] < 0x20 || bytes[0] == 0x7f)
		return 0;
	if (bytes[0] < 0x80)
		return 1;
	length = bytes[0] < 0xc2 ? 0 : bytes[0] < 0xe0 ? 2 : bytes[0] < 0xf0 ? 3 : bytes[0] < 0xf5 ? 4 : 0;
	if (length == 0 || length > n)
		return 0;
	value = bytes[0] & (0xffu >> (length + 1));
	for (size_t i = 1; i < length; i++) {
		if ((bytes[i] & 0xc0) != 0x80)
			return 0;
		value = value << 6 | (bytes[i] & 0x3f);
	}
	least = length == 2 ? 0xa0 : length == 3 ? 0x800 : 0x10000; /* below 0xa0: more control characters */
	return value < least || (value >= 0xd800 && value < 0xe000) || value > 0x10ffff ? 0 : length;
}

void
text_print_quoted(FILE *out, const uint8_t *bytes, size_t n)
{
	fputc('"', out);
	for (size_t i = 0, length; i < n && bytes[i] != 0; i += length) {
		length = text_character(bytes + i, n - i);
		if (length == 0) {
			fprintf(out, "\\x%02x", bytes[i]);
			length = 1;
		} else if (bytes[i] == '"' || bytes[i] == '\\') {
			fprintf(out, "\\%c", bytes[i]);
		} else {
			fwrite(bytes + i, 1, length, out);
		}
	}
	fputc('"', out);
}

/* --- bytes ---------------------------------------------------------------------------------------------------- */

static void
print_hex_line(FILE *out, uint64_t offset, const uint8_t *bytes, size_t n)
{
	fprintf(out, "%08" PRIx64 " ", offset);
	for (size_t i = 0; i < 16; i++) {
		if (i == 8)
			fputc(' ', out);
		if (i < n)
			fprintf(out, " %02x", bytes[i]);
		else
			fputs("   ", out);
	}
	fputs("  |", out);
	for (size_t i = 0; i < n; i++)
		fputc(bytes[i] >= 0x20 && bytes[i] < 0x7f ? bytes[i] : '.', out);
	fputs("|\n", out);
}

void
text_print_hex(FILE *out, uint64_t offset, const void *bytes, size_t n)
{
	bool starred = false;

	for (size_t i = 0; i < n; i += 16) {
		const uint8_t *line = (const uint8_t *)bytes + i;

		if (i >= 16 && n - i >= 16 && memcmp(line, line - 16, 16) == 0) {
			if (!starred)
				fputs("*\n", out);
			starred = true;
			continue;
		}
		starred = false;
		print_hex_line(out, offset + i, line, n - i < 16 ? n - i : 16);
	}
	fprintf(out, "%08" PRIx64 "\n", offset + n);
}

const char *
text_uuid(char buf[TEXT_UUID_MAX], const uint8_t bytes[16])
{
	char *at = buf;

	for (int i = 0; i < 16; i++)
		at += sprintf(at, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", bytes[i]);
	return buf;
}

const char *
text_time(char buf[TEXT_TIME_MAX], uint64_t seconds)
{
	time_t time = (time_t)seconds;
	struct tm tm;

	if (seconds > INT64_MAX || gmtime_r(&time, &tm) == NULL ||
	    strftime(buf, TEXT_TIME_MAX, "%Y-%m-%d %H:%M:%S UTC", &tm) == 0)
		snprintf(buf, TEXT_TIME_MAX, "%" PRIu64, seconds);
	return buf;
}
