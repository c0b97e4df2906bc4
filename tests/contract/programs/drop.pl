# Perl's client of the contract: see ../clients.py for what comes in and goes out.
use strict;
use warnings;
use DBI qw(:sql_types);
use Encode qw(decode encode);

my ($kind, $place, $name) = @ARGV;
my %options = (RaiseError => 1, PrintError => 0, AutoCommit => 1);
my $db = $kind eq 'sqlite'
    ? DBI->connect("dbi:SQLite:dbname=$place", '', '', { %options, sqlite_unicode => 1 })
    : DBI->connect("dbi:Pg:host=$place;dbname=$name", 'postgres', '', \%options);
$db->do('PRAGMA busy_timeout = 60000') if $kind eq 'sqlite';
my $octets = $kind eq 'sqlite' ? SQL_BLOB : { pg_type => 17 };    # DBD::Pg::PG_BYTEA
while (my $line = <STDIN>) {
    chomp $line;
    my ($sql, @parameters) = split /\t/, $line;
    my $said = eval {
        my $statement = $db->prepare(decode('UTF-8', pack('H*', $sql)));
        for my $number (1 .. @parameters) {
            my ($type, $hex) = $parameters[$number - 1] =~ /^(.)(.*)$/s;
            my $given = pack('H*', $hex);
            if ($type eq 'b') { $statement->bind_param($number, $given, $octets) }
            else { $statement->bind_param($number, $type eq 'n' ? undef : decode('UTF-8', $given)) }
        }
        $statement->execute;
        my $rows = $statement->{NUM_OF_FIELDS} ? $statement->fetchall_arrayref : [];
        join "\t", 'ok', map { join ',', map { defined $_ ? unpack('H*', encode('UTF-8', $_)) : '-' } @$_ } @$rows;
    };
    print $said // "no\t" . unpack('H*', encode('UTF-8', $@)), "\n";
}
