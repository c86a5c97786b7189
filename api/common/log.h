/* log.h -- trace lines of the debug builds, in the grammar that the published libraries use
 *
 * Line:   <lib>: <level> [file:line function] message\n, one call of the print function each.
 * Owns:   level, log file and print function of this library; set once by log_init from the environment.
 * Rules:  release builds compile LOG() to nothing and never read the environment. Never allocates.
 * Media:  process only.
 */
#ifndef API_COMMON_LOG_H
#define API_COMMON_LOG_H

struct log_library {
	const char *name;       /* "libvmem" */
	const char *env_level;  /* "VMEM_LOG_LEVEL" */
	const char *env_file;   /* "VMEM_LOG_FILE" */
	int major, minor;
};

/* From the library's constructor. Debug: reads the environment, opens the file (aborts with the specified line when
 * it cannot), prints the start-up lines at level 1. Release: remembers the name for `Error (lib): ` lines. */
void log_init(const struct log_library *lib);
void log_fini(void);

/* NULL restores the default (log file or stderr). Used by *_set_funcs. */
void log_set_print(void (*print)(const char *line));

/* Statistics and other unprefixed text: one line or more, straight to the print function, release builds too. */
void log_print(const char *text);

#ifdef PMHEAP_DEBUG
#define LOG(level, ...) log_line(level, __FILE__, __LINE__, __func__, __VA_ARGS__)
#else
#define LOG(level, ...) ((void)0)
#endif

#ifdef PMHEAP_DEBUG
void log_line(int level, const char *file, int line, const char *func, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));
#endif

/* "Error (libvmem): " text newline to the log file (debug, when one is open) or stderr, then abort(). */
_Noreturn void log_fatal(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
