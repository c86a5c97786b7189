/* json.h -- JSON written as it comes
 *
 * The writer knows where commas and line ends go; nesting is the caller's. A value inside of an object has a key, one
 * inside of an array has none (NULL). Numbers are exact: readers must take integers of 64 bits. Addresses are strings.
 */
#ifndef API_TOOLS_JSON_H
#define API_TOOLS_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define JSON_DEPTH 8

struct json {
	FILE *out;
	unsigned depth;
	unsigned flat;               /* from this depth on all is on one line; 0: nothing */
	bool filled[JSON_DEPTH + 1]; /* has a value already */
};

/* An object or array is flat, with all in it, when it is one of many. */
void json_begin(struct json *json, const char *key, char bracket, bool flat); /* '{' or '[' */
void json_end(struct json *json, char bracket); /* '}' or ']'; the outermost ends the line */

void json_number(struct json *json, const char *key, uint64_t value);
void json_bool(struct json *json, const char *key, bool value);
void json_address(struct json *json, const char *key, uint64_t value); /* "0x..." */
void json_null(struct json *json, const char *key);
/* Up to a 0, at most n bytes. Bytes that are not UTF-8 become U+FFFD. */
void json_bytes(struct json *json, const char *key, const void *bytes, size_t n);
void json_string(struct json *json, const char *key, const char *text); /* NULL: null */

#endif
