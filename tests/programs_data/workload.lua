-- Tables, strings, closures, coroutines and collection cycles; prints sums that do not depend on addresses.
local seed = 42
local function rnd(n)
	seed = (seed * 1103515245 + 12345) % 2147483648
	return seed // 65536 % n + 1
end

-- a table that grows and shrinks, string keys of many lengths
local t, live, sum = {}, 0, 0
for i = 1, 300000 do
	local k = string.rep("k", rnd(40)) .. rnd(20000)
	if t[k] then
		sum = sum + #t[k]
		t[k], live = nil, live - 1
	else
		t[k], live = string.rep(string.char(96 + rnd(26)), rnd(200)), live + 1
	end
end
print("table", live, sum)

-- string buffers that grow by doubling
local parts = {}
for i = 1, 40000 do
	parts[#parts + 1] = string.format("%d:%x;", i, i * i)
end
local s = table.concat(parts)
print("concat", #s, select(2, s:gsub("%d+:", "")))

-- binary trees: many equal small blocks, freed in waves
local function tree(depth)
	if depth == 0 then return { false, false } end
	return { tree(depth - 1), tree(depth - 1) }
end
local function count(n)
	return n[1] and 1 + count(n[1]) + count(n[2]) or 1
end
local keep = tree(14)
for round = 1, 20 do
	local n = count(tree(12))
	if round % 5 == 0 then print("tree", round, n) end
	collectgarbage(round % 2 == 0 and "generational" or "incremental")
end
print("kept", count(keep))

-- coroutines: stacks that come and go
local done = 0
for i = 1, 3000 do
	local co = coroutine.wrap(function(n)
		local acc = {}
		for j = 1, n do
			acc[j] = coroutine.yield(j)
		end
		done = done + #acc
	end)
	for j = 0, rnd(30) do
		co(j == 0 and 50 or j)
	end
end
collectgarbage()
print("coroutines", done)

-- sort with a comparison closure
local a = {}
for i = 1, 100000 do a[i] = rnd(1 << 15) * 32768 + i end
table.sort(a, function(x, y) return x > y end)
print("sort", a[1], a[50000], a[100000])
