/* api_vmmalloc_link.c -- who else is in the process: plugins with another malloc, early constructors, static programs
 *
 * Plugins and odd programs are compiled here, as a user's would be.
 */
#define _GNU_SOURCE
#include "tests/vmmalloc_run.h"

#define PLUGIN                                                       \
	"#include <stdlib.h>\n"                                      \
	"void *give(size_t n) { return malloc(n); }\n"              \
	"void take(void *p) { free(p); }\n"

static char *dir, plugin[300];

static void
compile(const char *command, ...)
{
	char text[2048];
	va_list ap;

	va_start(ap, command);
	vsnprintf(text, sizeof(text), command, ap);
	va_end(ap);
	cr_assert(system(text) == 0, "%s", text);
}

static void
make_plugin(const char *source)
{
	char path[300];

	dir = run_temp_dir();
	snprintf(path, sizeof(path), "%s/plugin.c", dir);
	snprintf(plugin, sizeof(plugin), "%s/plugin.so", dir);
	run_write_file(path, source);
	compile(TEST_CC " -O1 -fno-builtin -w -pthread -shared -fPIC -o %s %s", plugin, path);
}

static void
remove_dir(void)
{
	compile("rm -r %s", dir);
}

static void
crosses(char *how)
{
	make_plugin(PLUGIN);
	struct outcome *o = run(ENV_RELEASE, PROGRAM("vmmalloc_plugins"), how, plugin);
	remove_dir();
	assert_status(o, 0);
	assert_quiet(o);
}

Test(api_vmmalloc_link, plugin)
{
	crosses("plain");
	crosses("lazy");
}

Test(api_vmmalloc_link, plugin_opened_with_deepbind)
{
	crosses("deepbind");
}

/* A bare name is looked for along the RUNPATH of who calls dlopen, which must not seem to be us. */
Test(api_vmmalloc_link, plugin_found_along_the_callers_runpath)
{
	static const char *const environments[] = { ENV_RELEASE, ENV_DEBUG };
	char source[300], program[300];

	if (strstr(TEST_CC, "--coverage") != NULL)
		cr_skip_test("a call that is counted when it returns cannot be a jump");
	make_plugin(PLUGIN);
	snprintf(source, sizeof(source), "%s/program.c", dir);
	snprintf(program, sizeof(program), "%s/program", dir);
	run_write_file(source, "#include <dlfcn.h>\n"
			       "int main(void) { return dlopen(\"plugin.so\", RTLD_NOW) == 0; }\n");
	compile(TEST_CC " -o %s %s -Wl,--enable-new-dtags -Wl,-rpath,'$ORIGIN' -ldl", program, source);
	for (int i = 0; i < 2; i++) {
		if (i == 1 && access(DEBUG_LIB, R_OK) != 0)
			break; /* only the plain configuration builds it */
		struct outcome *o = run(environments[i], program);
		cr_expect(o->status == 0, "%s build: exit status %d: %s", i == 0 ? "release" : "debug", o->status, o->err);
		free(o);
	}
	remove_dir();
}

Test(api_vmmalloc_link, plugin_in_a_namespace_of_its_own)
{
	crosses("namespace");
}

/* A constructor that runs before ours: all sizes, threads, and blocks that live on. The program must free, resize and
 * measure them. */
#define EARLY                                                                                             \
	"#include <malloc.h>\n#include <pthread.h>\n#include <stdlib.h>\n#include <string.h>\n"           \
	"static char *block[40], *aligned; static size_t size[40]; static unsigned char *zero;\n"         \
	"static void *churn(void *a) { char *p[50]; for (int r = 0; r < 200; r++) {\n"                    \
	"  for (int i = 0; i < 50; i++) { p[i] = malloc(i * 31 + 1); memset(p[i], i, i * 31 + 1); }\n"    \
	"  for (int i = 0; i < 50; i++) { if (p[i][i * 31] != i) abort(); free(p[i]); } } return a; }\n"  \
	"__attribute__((constructor)) static void early(void) {\n"                                        \
	"  pthread_t t[3];\n"                                                                             \
	"  for (int i = 0; i < 3; i++) if (pthread_create(&t[i], 0, churn, 0)) abort();\n"                \
	"  churn(0);\n"                                                                                   \
	"  for (int i = 0; i < 3; i++) pthread_join(t[i], 0);\n"                                          \
	"  for (int i = 0; i < 40; i++) { size[i] = i < 24 ? (size_t)1 << i : i * 100000;\n"              \
	"    block[i] = malloc(size[i]); if (!block[i] || (unsigned long)block[i] % 16) abort();\n"       \
	"    memset(block[i], i, size[i]); }\n"                                                           \
	"  aligned = memalign(65536, 100); if ((unsigned long)aligned % 65536) abort();\n"                \
	"  zero = calloc(1000, 1000);\n"                                                                  \
	"  if (!getenv(\"VMMALLOC_POOL_DIR\")) abort();\n"                                                \
	"}\n"                                                                                             \
	"__attribute__((destructor)) static void late(void) {\n"                                          \
	"  for (int i = 0; i < 1000000; i++) if (zero[i]) abort();\n"                                     \
	"  if (malloc_usable_size(aligned) < 100) abort(); aligned = realloc(aligned, 3000); free(aligned);\n" \
	"  for (int i = 0; i < 40; i++) { if (malloc_usable_size(block[i]) < size[i]) abort();\n"         \
	"    if (block[i][0] != i || block[i][size[i] - 1] != i) abort();\n"                              \
	"    if (i % 2) { block[i] = realloc(block[i], size[i] < 1000000 ? size[i] * 2 : 1000); if (!block[i] || block[i][0] != i) abort(); }\n" \
	"    free(block[i]); }\n"                                                                         \
	"  free(zero); }\n"

Test(api_vmmalloc_link, constructors_that_run_before_ours)
{
	char lines[1024];

	make_plugin(EARLY);
	/* behind us in the list, hence initialised before us */
	snprintf(lines, sizeof(lines), "%sVMMALLOC_POOL_SIZE=64M\nLD_PRELOAD=%s:%s\n", ENV_RELEASE, RELEASE_LIB, plugin);
	struct outcome *o = run(lines, PROGRAM("vmmalloc_calls"), "where");
	assert_status(o, 0);
	assert_quiet(o);
	/* before us in the list, hence initialised after us, and destroyed before us */
	snprintf(lines, sizeof(lines), "%sVMMALLOC_POOL_SIZE=128M\nLD_PRELOAD=%s:%s\n", ENV_RELEASE, plugin, RELEASE_LIB);
	o = run(lines, PROGRAM("vmmalloc_calls"), "where");
	assert_status(o, 0);
	remove_dir();
}

/* fork before the pool is there, and a fork handler older than ours that allocates and asks how the heap is. */
#define EARLY_FORK                                                                                        \
	"#include <malloc.h>\n#include <pthread.h>\n#include <stdlib.h>\n#include <sys/wait.h>\n#include <unistd.h>\n" \
	"static void *held;\n"                                                                            \
	"static void handler(void) { void *p = malloc(5000); p = realloc(p, 9000); free(p); free(held); held = malloc(100);\n" \
	"  mallinfo2(); malloc_trim(0); }\n"                                                               \
	"__attribute__((constructor)) static void early(void) {\n"                                        \
	"  pthread_atfork(handler, handler, handler);\n"                                                  \
	"  int status; void *p = malloc(100); pid_t pid = fork();\n"                                      \
	"  if (pid == 0) { free(p); _exit(malloc(1000) ? 0 : 1); }\n"                                     \
	"  if (waitpid(pid, &status, 0) != pid || status != 0) abort(); }\n"

Test(api_vmmalloc_link, forks_and_fork_handlers_before_ours)
{
	char lines[1024];

	make_plugin(EARLY_FORK);
	for (int mode = 1; mode <= 3; mode++) {
		snprintf(lines, sizeof(lines), "%sVMMALLOC_POOL_SIZE=128M\nVMMALLOC_FORK=%d\nLD_PRELOAD=%s:%s\n", ENV_RELEASE, mode,
			 RELEASE_LIB, plugin);
		struct outcome *o = run(lines, PROGRAM("vmmalloc_fork"), "isolation");
		assert_status(o, 0);
		assert_quiet(o);
	}
	remove_dir();
}

/* --- linked ------------------------------------------------------------------------------------------------------ */

Test(api_vmmalloc_link, linked_dynamically)
{
	struct outcome *o = run(ENV_RELEASE "-LD_PRELOAD\n", PROGRAM("vmmalloc_linked"));

	assert_status(o, 0);
	cr_assert_str_eq(o->out, "in the pool\n");
	o = run("-LD_PRELOAD\n-VMMALLOC_POOL_DIR\n", PROGRAM("vmmalloc_linked"));
	assert_status(o, 134);
}

static void
linked_by(const char *command)
{
	char program[300];

	dir = run_temp_dir();
	snprintf(program, sizeof(program), "%s/program", dir);
	compile(command, program);
	struct outcome *o = run(ENV_RELEASE "-LD_PRELOAD\n", program);
	remove_dir();
	assert_status(o, 0);
	assert_quiet(o);
	cr_assert_str_eq(o->out, "in the pool\n");
}

#define LINKED TEST_ROOT "/tests/programs/vmmalloc_linked.c -I" TEST_ROOT "/api/include"

Test(api_vmmalloc_link, linked_with_the_archive)
{
	linked_by(TEST_CC " -O2 -pthread -o %s " LINKED " " TEST_BUILD "/lib/libvmmalloc.a");
}

/* No libc malloc may come in beside ours: the linker would say so. */
Test(api_vmmalloc_link, linked_statically)
{
	linked_by(TEST_CC " -O2 -static -pthread -o %s " LINKED " " TEST_BUILD "/lib/libvmmalloc.a");
}

Test(api_vmmalloc_link, static_programs_name_foreign_pointers)
{
	char program[300], path[300];

	dir = run_temp_dir();
	snprintf(program, sizeof(program), "%s/program", dir);
	snprintf(path, sizeof(path), "%s/program.c", dir);
	run_write_file(path, "#include <stdlib.h>\nint main(void) { static char b[64]; void *volatile p = b + 16; free(p); return 0; }\n");
	compile(TEST_CC " -w -static -pthread -o %s %s " TEST_BUILD "/lib/libvmmalloc.a", program, path);
	struct outcome *o = run(ENV_RELEASE "-LD_PRELOAD\n", program);
	remove_dir();
	assert_status(o, 134);
	assert_in(o->err, "Error (libvmmalloc): free of 0x");
}

Test(api_vmmalloc_link, linked_from_cplusplus)
{
	if (!run_have("g++"))
		cr_skip_test("no g++");
	linked_by("g++ -O2 -pthread -o %s -x c++ " LINKED " -x none -L" TEST_BUILD "/lib -lvmmalloc -Wl,-rpath," TEST_BUILD "/lib");
}

/* libstdc++ allocates before our constructor, throws, and uses every operator new. */
Test(api_vmmalloc_link, cplusplus_program)
{
	if (!run_have("g++"))
		cr_skip_test("no g++");
	char program[300], path[300];

	dir = run_temp_dir();
	snprintf(program, sizeof(program), "%s/program", dir);
	snprintf(path, sizeof(path), "%s/program.cc", dir);
	run_write_file(path,
		       "#include <iostream>\n#include <map>\n#include <memory>\n#include <new>\n#include <string>\n#include <thread>\n"
		       "#include <vector>\n"
		       "struct alignas(128) Wide { char c[300]; };\n"
		       "static std::map<std::string, int> early{{\"a long enough string to be on the heap\", 1}};\n"
		       "static thread_local std::string per_thread(100, 'x');\n"
		       "int main() {\n"
		       "  std::vector<std::unique_ptr<Wide>> wide;\n"
		       "  for (int i = 0; i < 100; i++) { wide.emplace_back(new Wide); if ((unsigned long)wide.back().get() % 128) return 1; }\n"
		       "  std::vector<std::thread> threads;\n"
		       "  for (int t = 0; t < 8; t++) threads.emplace_back([t] { per_thread += std::to_string(t);\n"
		       "    for (int i = 0; i < 200; i++) { try { std::string s(100 + i, 'a'); if (i % 3 == 0) throw s; } catch (std::string &s) { per_thread += s[0]; } } });\n"
		       "  for (auto &t : threads) t.join();\n"
		       "  bool thrown = false;\n"
		       "  try { volatile size_t n = (size_t)1 << 40; char *p = new char[n]; p[0] = 1; std::cout << p; } catch (std::bad_alloc &) { thrown = true; }\n"
		       "  early[\"another string that is on the heap\"] = 2;\n"
		       "  std::cout << early.size() << (thrown ? \" thrown\" : \"\") << std::endl; return 0; }\n");
	compile("g++ -std=c++17 -O1 -pthread -o %s %s", program, path);
	struct outcome *o = run(ENV_RELEASE, program);
	remove_dir();
	assert_status(o, 0);
	assert_quiet(o);
	cr_assert_str_eq(o->out, "2 thrown\n");
}
