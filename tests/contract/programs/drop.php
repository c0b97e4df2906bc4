<?php
// PHP's client of the contract: see ../clients.py for what comes in and goes out.
[, $kind, $place, $name] = $argv;
$dsn = $kind === 'sqlite' ? "sqlite:$place" : "pgsql:host=$place;dbname=$name;user=postgres";
$db = new PDO($dsn, null, null, [PDO::ATTR_TIMEOUT => 60, PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION]);
$types = ['s' => PDO::PARAM_STR, 'b' => PDO::PARAM_LOB, 'i' => PDO::PARAM_INT, 'n' => PDO::PARAM_NULL];
while (($line = fgets(STDIN)) !== false) {
    $parameters = explode("\t", rtrim($line, "\n"));
    try {
        $statement = $db->prepare(hex2bin(array_shift($parameters)));
        foreach ($parameters as $number => $given) {
            $value = $given === 'n' ? null : hex2bin(substr($given, 1));
            $statement->bindValue($number + 1, $value, $types[$given[0]]);
        }
        $statement->execute();
        $rows = $statement->columnCount() ? $statement->fetchAll(PDO::FETCH_NUM) : [];
        $shown = fn($cell) => $cell === null ? '-' : bin2hex((string) $cell);
        echo implode("\t", ['ok', ...array_map(fn($row) => implode(',', array_map($shown, $row)), $rows)]), "\n";
    } catch (PDOException $error) {
        echo "no\t", bin2hex($error->getMessage()), "\n";
    }
}
