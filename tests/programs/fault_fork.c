/* fault_fork.c -- allocates, forks, and looks in both processes whether what was written is there
 *
 * For tests/nth_vmmalloc_calls.c: any system call of the preloaded library may fail meanwhile.
 * With an argument the child only looks: it shares the pool with its parent (VMMALLOC_FORK=0), and must not change it.
 * Exit status: 0 all is there; 3 an allocation failed, with ENOMEM; 4 the child was aborted; 1 anything else.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define BLOCKS 40

static unsigned char *blocks[BLOCKS];

static size_t
size_of(int i)
{
	return i % 10 == 0 ? (size_t)300000 : (size_t)(i * 100 + 1);
}

static void
allocate(int from, int to)
{
	for (int i = from; i < to; i++) {
		errno = 0;
		blocks[i] = malloc(size_of(i));
		if (blocks[i] == NULL)
			_exit(errno == ENOMEM ? 3 : 1);
		memset(blocks[i], i + 1, size_of(i));
	}
}

static void
look(int to)
{
	for (int i = 0; i < to; i++)
		for (size_t at = 0; at < size_of(i); at++)
			if (blocks[i][at] != i + 1)
				_exit(1);
}

int
main(int argc, char **argv)
{
	int status = 0;
	pid_t child;

	(void)argv;
	allocate(0, BLOCKS / 2);
	child = fork();
	if (child == 0) {
		look(BLOCKS / 2);
		if (argc > 1)
			_exit(0);
		allocate(BLOCKS / 2, BLOCKS);
		look(BLOCKS);
		_exit(0);
	}
	if (child < 0)
		_exit(1);
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			_exit(1);
	look(BLOCKS / 2);
	allocate(BLOCKS / 2, BLOCKS);
	look(BLOCKS);
	if (WIFSIGNALED(status))
		_exit(WTERMSIG(status) == SIGABRT ? 4 : 1);
	_exit(WEXITSTATUS(status));
}
