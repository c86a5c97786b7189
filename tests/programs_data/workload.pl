# Hashes, regular expressions, sorting, string growth, fork; prints results that do not depend on addresses.
use strict;
use warnings;
use Digest::SHA qw(sha1_hex);
use Storable qw(freeze thaw dclone);

$| = 1;
my $seed = 7;
sub rnd { $seed = ($seed * 1103515245 + 12345) & 0x7fffffff; return ($seed >> 16) % $_[0]; }

my (%h, $hits);
for my $i (1 .. 300000) {
	my $k = ("x" x rnd(30)) . rnd(15000);
	if (exists $h{$k}) { $hits += length delete $h{$k}; } else { $h{$k} = chr(97 + rnd(26)) x rnd(300); }
}
print "hash ", scalar(keys %h), " $hits\n";

my $text = join " ", map { sprintf "%s=%d", $_, length $h{$_} } sort keys %h;
my $n = 0;
$n += $1 while $text =~ /x+\d*7=(\d+)/g;
print "regex ", length $text, " $n\n";
(my $copy = $text) =~ s/(\d+)=(\d+)/$2-$1/g;
print "substitute ", sha1_hex($copy), "\n";

my $deep = { map { $_ => [ map { { n => $_, s => "v" x $_ } } 1 .. 20 ] } 1 .. 500 };
$Storable::canonical = 1;
for (1 .. 10) { $deep = dclone($deep); }
print "storable ", sha1_hex(freeze($deep)), "\n";

my $grow = "";
for my $i (1 .. 200000) { $grow .= "line $i\n"; }
my @lines = sort { $b cmp $a } split /\n/, $grow;
print "split ", scalar(@lines), " $lines[0] $lines[-1]\n";

# children that go on allocating in their copy of the heap; the parent's copy must not change
my @kids;
for my $c (1 .. 6) {
	pipe(my $r, my $w) or die;
	my $pid = fork // die "fork: $!";
	if (!$pid) {
		close $r;
		delete $h{$_} for grep { length($_) % 6 == $c % 6 } keys %h;
		my %new = map { $_ => "c$c" x rnd(50) } 1 .. 5000;
		print $w scalar(keys %h), " ", sha1_hex(join ",", map { "$_$new{$_}" } sort keys %new);
		close $w;
		exit $c;
	}
	close $w;
	push @kids, [ $pid, $r ];
	$h{"parent$c"} = "p" x 1000;
}
for my $k (@kids) {
	my $line = readline $k->[1];
	waitpid $k->[0], 0;
	print "child $line exit ", $? >> 8, "\n";
}
print "parent ", scalar(keys %h), " ", sha1_hex(join ",", map { "$_$h{$_}" } sort keys %h), "\n";
