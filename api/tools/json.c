/* json.c -- see json.h
 *
 * Media:  none.
 * Fails:  as its stream does; the caller asks ferror(3).
 */
#include "api/tools/json.h"

#include <inttypes.h>
#include <string.h>

#include "api/tools/text.h"

static void
write_string(FILE *out, const uint8_t *bytes, size_t n)
{
	fputc('"', out);
	for (size_t i = 0, length; i < n && bytes[i] != 0; i += length) {
		length = text_character(bytes + i, n - i);
		if (bytes[i] < 0x20 || bytes[i] == 0x7f) {
			fprintf(out, "\\u%04x", bytes[i]);
			length = 1;
		} else if (length == 0) {
			fputs("\\ufffd", out);
			length = 1;
		} else if (bytes[i] == '"' || bytes[i] == '\\') {
			fprintf(out, "\\%c", bytes[i]);
		} else {
			fwrite(bytes + i, 1, length, out);
		}
	}
	fputc('"', out);
}

static void
write_key(struct json *json, const char *key)
{
	if (json->filled[json->depth])
		fputs(json->flat != 0 ? ", " : ",", json->out);
	json->filled[json->depth] = true;
	if (json->depth > 0 && json->flat == 0)
		fprintf(json->out, "\n%*s", (int)json->depth * 2, "");
	if (key != NULL) {
		write_string(json->out, (const uint8_t *)key, strlen(key));
		fputs(": ", json->out);
	}
}

void
json_begin(struct json *json, const char *key, char bracket, bool flat)
{
	write_key(json, key);
	fputc(bracket, json->out);
	json->depth++;
	json->filled[json->depth] = false;
	if (flat && json->flat == 0)
		json->flat = json->depth;
}

void
json_end(struct json *json, char bracket)
{
	bool lines = json->flat == 0 && json->filled[json->depth];

	if (json->flat == json->depth)
		json->flat = 0;
	json->depth--;
	if (lines)
		fprintf(json->out, "\n%*s", (int)json->depth * 2, "");
	fputc(bracket, json->out);
	if (json->depth == 0)
		fputc('\n', json->out);
}

void
json_number(struct json *json, const char *key, uint64_t value)
{
	write_key(json, key);
	fprintf(json->out, "%" PRIu64, value);
}

void
json_bool(struct json *json, const char *key, bool value)
{
	write_key(json, key);
	fputs(value ? "true" : "false", json->out);
}

void
json_address(struct json *json, const char *key, uint64_t value)
{
	write_key(json, key);
	fprintf(json->out, "\"0x%" PRIx64 "\"", value);
}

void
json_null(struct json *json, const char *key)
{
	write_key(json, key);
	fputs("null", json->out);
}

void
json_bytes(struct json *json, const char *key, const void *bytes, size_t n)
{
	write_key(json, key);
	write_string(json->out, bytes, n);
}

void
json_string(struct json *json, const char *key, const char *text)
{
	if (text == NULL)
		json_null(json, key);
	else
		json_bytes(json, key, text, strlen(text));
}
