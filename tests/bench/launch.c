/* launch.c -- runs one program and writes what it cost
 *
 * launch RESULT [NAME=VALUE]... PROGRAM [ARG]...
 *
 * The settings go into the program's environment, not into the launcher's. RESULT gets one line: exit status (128 + n
 * after signal n), user and system microseconds, wall nanoseconds, minor and major page faults, peak memory in KiB.
 * Owns:   nothing. It is linked statically and forks with vfork: ru_maxrss of a process starts at what its parent
 *         had resident, over exec too, so a launcher of any size would hide the peak of small programs.
 * Fails:  exit status 125 when the program cannot be started or the result not be written.
 */
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_ENV 1024

extern char **environ;

static long long
now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* A setting of the command line takes the place of one that was inherited. */
static void
env_put(char **env, size_t *n, char *setting)
{
	size_t name = (size_t)(strchr(setting, '=') - setting) + 1;

	for (size_t i = 0; i < *n; i++) {
		if (strncmp(env[i], setting, name) == 0) {
			env[i] = setting;
			return;
		}
	}
	if (*n < MAX_ENV)
		env[(*n)++] = setting;
}

int
main(int argc, char **argv)
{
	static char *env[MAX_ENV + 1];
	size_t n = 0;
	int at = 2;

	for (char **e = environ; *e && n < MAX_ENV; e++)
		env[n++] = *e;
	while (at < argc && strchr(argv[at], '='))
		env_put(env, &n, argv[at++]);
	if (at >= argc) {
		fputs("usage: launch RESULT [NAME=VALUE]... PROGRAM [ARG]...\n", stderr);
		return 125;
	}

	long long start = now_ns();
	pid_t child = vfork();
	if (child == 0) {
		execvpe(argv[at], argv + at, env);
		_exit(125);
	}
	int status;
	struct rusage use;
	if (child < 0 || wait4(child, &status, 0, &use) != child)
		return 125;
	long long wall = now_ns() - start;
	int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);

	FILE *out = fopen(argv[1], "w");
	if (out == NULL)
		return 125;
	fprintf(out, "%d %lld %lld %lld %ld %ld %ld\n", code, use.ru_utime.tv_sec * 1000000LL + use.ru_utime.tv_usec,
	    use.ru_stime.tv_sec * 1000000LL + use.ru_stime.tv_usec, wall, use.ru_minflt, use.ru_majflt, use.ru_maxrss);
	return fclose(out) == 0 ? code : 125;
}
