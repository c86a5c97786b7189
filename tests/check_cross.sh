#!/bin/sh
# Builds for aarch64 and riscv64 and runs the tests of flush/ and of libpmem there, under qemu-user.
# usage: check_cross.sh ROOT HOME PYTHON -- HOME: where the build folders go. Ends in `N passed, N failed[, N skipped]`.
# Status 77 when no cross compiler can be had.
set -u
root=$(cd "$1" && pwd) home=$2 python=$3
passed=0 failed=0 skipped=0

"$python" "$root/configure.py" --install-deps=cross || true
for arch in aarch64 riscv64; do
	triple=$arch-linux-gnu folder=$home/cross-$arch
	if ! command -v "$triple-gcc" >/dev/null || ! command -v "qemu-$arch" >/dev/null; then
		echo "skipped: $arch: gcc-$triple or qemu-user is not installed"
		skipped=$((skipped + 1))
		continue
	fi
	mkdir -p "$folder"
	runner="qemu-$arch -L /usr/$triple"
	tests="flush_copy flush_cpu flush_record flush_words api_pmem_dax api_pmem_range api_pmem_map api_pmem_uw"
	if ! (cd "$folder" && "$python" "$root/configure.py" --host="$triple" --runner="$runner" --werror 2>/dev/null &&
		ninja --quiet lib/libpmem.so lib/libpmem.a $(printf 'tests/%s ' $tests)); then
		echo "$arch: the build failed"
		failed=$((failed + 1))
		continue
	fi
	for test in $tests; do
		# qemu-user 7.2 announces DC CVAP and DC CVADP, but does not execute them; the tests of flush/ help it
		case $test in
		flush_*) set -- ;;
		*) set -- env PMEM_NO_CVAP=1 PMEM_NO_CVADP=1 TEST_EMULATED=1 ;;
		esac
		# criterion_small ends in one line of numbers, and names each test that did not pass
		numbers=$(cd "$folder" && "$@" $runner -E LD_LIBRARY_PATH=lib "tests/$test" 2>&1 | tee "$test.log" |
			sed -nE 's/.*Tested: ([0-9]+) \| Passing: ([0-9]+) \| Failing: ([0-9]+).*/\1 \2 \3/p')
		if [ -z "$numbers" ]; then
			echo "$arch: $test did not end"
			cat "$folder/$test.log"
			failed=$((failed + 1))
			continue
		fi
		set -- $numbers
		grep -v '====' "$folder/$test.log" | sed "s/^/$arch: $test: /"
		passed=$((passed + $2)) failed=$((failed + $3)) skipped=$((skipped + $1 - $2 - $3))
	done
done
total="$passed passed, $failed failed"
[ "$skipped" = 0 ] || total="$total, $skipped skipped"
echo "$total"
[ "$failed" = 0 ]
