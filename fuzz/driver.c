/* driver.c -- replays files through a fuzz target, without libFuzzer
 *
 * usage: driver FILE-OR-FOLDER...     Each file is one input; of a folder, every file in it, in the order of names.
 *
 * Prints the count. Ends with 1 when nothing was replayed: a check that runs nothing must not pass.
 */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned nreplayed;

static _Noreturn void
driver_stop(const char *path)
{
	fprintf(stderr, "driver: %s: %s\n", path, strerror(errno));
	exit(1);
}

static void
replay_file(const char *path, size_t size)
{
	/* A block of exactly that size, so that a sanitizer sees a target that reads past its input. */
	uint8_t *data = malloc(size ? size : 1);
	FILE *file = fopen(path, "rb");

	if (!file || !data || fread(data, 1, size, file) != size)
		driver_stop(path);
	fclose(file);
	/* A crash must tell which input it was; the standard error is not buffered. */
	if (getenv("PMHEAP_TRACE"))
		fprintf(stderr, "driver: %s\n", path);
	LLVMFuzzerTestOneInput(data, size);
	free(data);
	nreplayed++;
}

static int
visible(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

static void
replay(const char *path)
{
	struct stat st;
	struct dirent **entries;
	char inner[4096];
	int n;

	if (stat(path, &st) != 0)
		driver_stop(path);
	if (!S_ISDIR(st.st_mode)) {
		replay_file(path, (size_t)st.st_size);
		return;
	}
	n = scandir(path, &entries, visible, alphasort);
	if (n < 0)
		driver_stop(path);
	for (int i = 0; i < n; i++) {
		snprintf(inner, sizeof(inner), "%s/%s", path, entries[i]->d_name);
		replay(inner);
		free(entries[i]);
	}
	free(entries);
}

int
main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		replay(argv[i]);
	printf("replayed %u inputs\n", nreplayed);
	return nreplayed == 0;
}
