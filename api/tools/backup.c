/* backup.c -- a copy of a file that keeps its holes
 *
 * Media:  writes a new file, holes where the other has them (lseek(2), SEEK_DATA); a file system that does not know holes
 *         shows all as data.
 * Fails:  1, and said; what was begun is removed.
 */
#define _GNU_SOURCE
#include "api/tools/backup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/tools/pmheap.h"
#include "api/tools/progress.h"

#define PIECE ((size_t)1 << 20)

/* One range of data. 0 or errno. */
static int
copy_range(int in, int out, off_t at, off_t end, struct progress *progress)
{
	static char buffer[PIECE];

	while (at < end) {
		size_t want = end - at < (off_t)PIECE ? (size_t)(end - at) : PIECE;
		ssize_t n = pread(in, buffer, want, at);

		if (n <= 0)
			return n == 0 ? EIO : errno; /* it is locked: nobody cuts it */
		for (ssize_t done = 0; done < n;) {
			ssize_t written = pwrite(out, buffer + done, (size_t)(n - done), at + done);

			if (written < 0 && errno != EINTR)
				return errno;
			done += written > 0 ? written : 0;
		}
		at += n;
		progress_step(progress, (uint64_t)at);
	}
	return 0;
}

static int
copy_data(int in, int out, off_t size)
{
	struct progress progress;
	off_t at = 0, end;
	int error = 0;

	progress_begin(&progress, "copying", (uint64_t)size);
	while (error == 0 && at < size) {
		at = lseek(in, at, SEEK_DATA);
		if (at < 0 && errno == ENXIO) /* holes up to the end */
			break;
		end = at < 0 ? -1 : lseek(in, at, SEEK_HOLE);
		error = end < 0 ? errno : copy_range(in, out, at, end, &progress);
		at = end;
	}
	progress_end(&progress);
	return error;
}

int
backup_file(const char *command, const char *from, const char *to)
{
	int in = open(from, O_RDONLY | O_CLOEXEC), out = -1, error = in < 0 ? errno : 0;
	const char *what = from;
	struct stat st;

	if (error == 0 && fstat(in, &st) != 0)
		error = errno;
	if (error == 0) {
		what = to;
		out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, st.st_mode & 0777);
		error = out < 0 ? errno : ftruncate(out, st.st_size) != 0 ? errno : copy_data(in, out, st.st_size);
	}
	if (error == 0 && fsync(out) != 0)
		error = errno;
	if (out >= 0 && close(out) != 0 && error == 0)
		error = errno;
	if (in >= 0)
		close(in);
	if (error == 0)
		return 0;
	complain("%s: %s: %s", command, what, strerror(error));
	if (out >= 0)
		unlink(to);
	return 1;
}
