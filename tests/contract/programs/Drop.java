// Java's client of the contract: see ../clients.py for what comes in and goes out.
import java.io.*;
import java.nio.charset.StandardCharsets;
import java.sql.*;
import java.util.*;

class Drop {
    public static void main(String[] given) throws Exception {
        String url = given[0].equals("sqlite")
            ? "jdbc:sqlite:" + given[1] + "?busy_timeout=60000"
            : "jdbc:postgresql://" + given[1] + "/" + given[2] + "?user=postgres&sslmode=disable";
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII));
        try (Connection database = DriverManager.getConnection(url)) {
            for (String line; (line = in.readLine()) != null;) System.out.println(run(database, line.split("\t")));
        }
    }

    static String run(Connection database, String[] given) {
        try (PreparedStatement statement = database.prepareStatement(text(given[0]))) {
            for (int number = 1; number < given.length; number++) {
                String one = given[number].substring(1);
                switch (given[number].charAt(0)) {
                    case 'n' -> statement.setNull(number, Types.NULL);
                    case 'b' -> statement.setBytes(number, HexFormat.of().parseHex(one));
                    case 'i' -> statement.setLong(number, Long.parseLong(text(one)));
                    default -> statement.setString(number, text(one));
                }
            }
            StringBuilder said = new StringBuilder("ok");
            if (!statement.execute()) return said.toString();
            ResultSet rows = statement.getResultSet();
            while (rows.next()) {
                for (int column = 1; column <= rows.getMetaData().getColumnCount(); column++) {
                    String cell = rows.getString(column);
                    said.append(column == 1 ? "\t" : ",").append(cell == null ? "-" : hex(cell));
                }
            }
            return said.toString();
        } catch (SQLException error) {
            return "no\t" + hex(error.getMessage());
        }
    }

    static String text(String hex) {
        return new String(HexFormat.of().parseHex(hex), StandardCharsets.UTF_8);
    }

    static String hex(String text) {
        return HexFormat.of().formatHex(text.getBytes(StandardCharsets.UTF_8));
    }
}
