import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.StringWriter;
import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.sql.Array;
import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.SQLException;
import java.sql.Savepoint;
import java.sql.Statement;
import java.sql.Types;
import java.time.LocalDate;
import java.time.LocalDateTime;
import java.time.OffsetDateTime;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.UUID;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicInteger;
import org.postgresql.PGConnection;
import org.postgresql.PGStatement;

/**
 * Does with JDBC what it is told on standard input, so that the suite's checks need not be written twice.
 *
 * A line is {@code number TAB command TAB argument …}, its answer {@code number TAB ok|error TAB field …}; arguments and
 * fields are Base64 of UTF-8. Commands run beside each other. A table is answered as its width, its names, its cells.
 */
public final class Jdbc {
    /** A connection and what hangs on it. */
    private static final class Session {
        final Connection connection;
        volatile Statement running;
        Savepoint savepoint;

        Session(Connection connection) {
            this.connection = connection;
        }
    }

    private static final Map<String, Session> SESSIONS = new ConcurrentHashMap<>();
    private static final AtomicInteger NAMES = new AtomicInteger();

    public static void main(String[] arguments) throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String[] fields = line.split("\t", -1);
            List<String> rest = new ArrayList<>();
            for (int at = 2; at < fields.length; at++) {
                rest.add(new String(Base64.getDecoder().decode(fields[at]), StandardCharsets.UTF_8));
            }
            Thread thread = new Thread(() -> answer(fields[0], fields[1], rest));
            thread.setDaemon(true);
            thread.start();
        }
        // Whoever told it what to do is gone, and so are its connections.
        Runtime.getRuntime().halt(0);
    }

    private static void answer(String number, String command, List<String> arguments) {
        List<String> fields = new ArrayList<>();
        try {
            fields.add("ok");
            fields.addAll(run(command, arguments));
        } catch (SQLException error) {
            String state = error.getSQLState() == null ? "" : error.getSQLState();
            String cause = error.getCause() == null ? "" : " (" + error.getCause() + ")";
            fields = List.of("error", state, error.getMessage() + cause);
        } catch (Exception error) {
            fields = List.of("error", "", error.toString());
        }
        StringBuilder line = new StringBuilder(number);
        for (String field : fields) {
            line.append('\t').append(base64(field.getBytes(StandardCharsets.UTF_8)));
        }
        synchronized (System.out) {
            System.out.println(line);
        }
    }

    private static String base64(byte[] bytes) {
        return Base64.getEncoder().encodeToString(bytes);
    }

    private static List<String> run(String command, List<String> arguments) throws Exception {
        if (command.equals("version")) {
            return List.of(org.postgresql.util.DriverInfo.DRIVER_VERSION);
        }
        if (command.equals("connect")) {
            return List.of(connect(arguments));
        }
        Session session = SESSIONS.get(arguments.get(0));
        Connection connection = session.connection;
        switch (command) {
            case "close" -> {
                SESSIONS.remove(arguments.get(0));
                connection.close();
            }
            case "query" -> {
                return query(session, arguments.get(1), arguments.subList(2, arguments.size()));
            }
            case "stream" -> {
                return stream(session, arguments.get(1), Integer.parseInt(arguments.get(2)));
            }
            case "prepared" -> {
                return prepared(connection, arguments.get(1), arguments.subList(2, arguments.size()));
            }
            case "statements" -> {
                return statements(connection, arguments.get(1));
            }
            case "copy" -> {
                StringWriter out = new StringWriter();
                connection.unwrap(PGConnection.class).getCopyAPI().copyOut(arguments.get(1), out);
                return List.of(out.toString());
            }
            case "cancel" -> session.running.cancel();
            case "autocommit" -> connection.setAutoCommit(Boolean.parseBoolean(arguments.get(1)));
            case "commit" -> {
                connection.commit();
                connection.setAutoCommit(true);
            }
            case "rollback" -> {
                connection.rollback();
                connection.setAutoCommit(true);
            }
            case "savepoint" -> session.savepoint = connection.setSavepoint();
            case "back" -> {
                connection.rollback(session.savepoint);
                connection.releaseSavepoint(session.savepoint);
            }
            case "tables" -> {
                return tables(connection.getMetaData());
            }
            case "columns" -> {
                return columns(connection.getMetaData(), arguments.get(1));
            }
            case "keys" -> {
                return keys(connection.getMetaData(), arguments.get(1));
            }
            default -> throw new IllegalArgumentException(command);
        }
        return List.of();
    }

    private static String connect(List<String> arguments) throws SQLException {
        Properties properties = new Properties();
        properties.setProperty("user", arguments.get(1));
        properties.setProperty("password", arguments.get(2));
        properties.setProperty("sslmode", arguments.get(3));
        if (!arguments.get(4).isEmpty()) {
            properties.setProperty("sslrootcert", arguments.get(4));
        }
        properties.setProperty("connectTimeout", "30");
        String name = String.valueOf(NAMES.incrementAndGet());
        SESSIONS.put(name, new Session(DriverManager.getConnection(arguments.get(0), properties)));
        return name;
    }

    private static List<String> query(Session session, String sql, List<String> parameters) throws SQLException {
        try (PreparedStatement statement = session.connection.prepareStatement(sql)) {
            session.running = statement;
            bind(statement, parameters);
            if (!statement.execute()) {
                return List.of();
            }
            try (ResultSet rows = statement.getResultSet()) {
                return table(rows, Integer.MAX_VALUE);
            }
        } finally {
            session.running = null;
        }
    }

    private static List<String> stream(Session session, String sql, int count) throws SQLException {
        session.connection.setAutoCommit(false);
        try (Statement statement = session.connection.createStatement()) {
            statement.setFetchSize(500);
            try (ResultSet rows = statement.executeQuery(sql)) {
                return table(rows, count);
            }
        } finally {
            session.connection.rollback();
            session.connection.setAutoCommit(true);
        }
    }

    /** Named on the server from its first execution on. */
    private static List<String> prepared(Connection connection, String sql, List<String> parameters) throws SQLException {
        List<String> found = new ArrayList<>(List.of("1", "value"));
        try (PreparedStatement statement = connection.prepareStatement(sql)) {
            statement.unwrap(PGStatement.class).setPrepareThreshold(1);
            for (String parameter : parameters) {
                bind(statement, List.of(parameter));
                try (ResultSet rows = statement.executeQuery()) {
                    rows.next();
                    found.add(cell(rows, 1));
                }
            }
        }
        return found;
    }

    private static List<String> statements(Connection connection, String sql) throws SQLException {
        List<String> last = List.of();
        try (Statement statement = connection.createStatement()) {
            boolean rows = statement.execute(sql);
            while (rows || statement.getUpdateCount() != -1) {
                if (rows) {
                    last = table(statement.getResultSet(), Integer.MAX_VALUE);
                }
                rows = statement.getMoreResults();
            }
        }
        return last;
    }

    private static List<String> tables(DatabaseMetaData meta) throws SQLException {
        List<String> found = new ArrayList<>(List.of("1", "name"));
        try (ResultSet rows = meta.getTables(null, "public", "%", new String[] {"TABLE", "VIEW"})) {
            while (rows.next()) {
                found.add("s" + rows.getString("TABLE_NAME"));
            }
        }
        return found;
    }

    private static List<String> columns(DatabaseMetaData meta, String table) throws SQLException {
        List<String> found = new ArrayList<>(List.of("3", "name", "type", "nullable"));
        try (ResultSet rows = meta.getColumns(null, "public", table, "%")) {
            while (rows.next()) {
                found.add("s" + rows.getString("COLUMN_NAME"));
                found.add("s" + rows.getString("TYPE_NAME"));
                found.add("b" + rows.getString("IS_NULLABLE").equals("YES"));
            }
        }
        return found;
    }

    /** What other tools ask too, and what must answer nothing: keys of every kind. */
    private static List<String> keys(DatabaseMetaData meta, String table) throws SQLException {
        List<String> found = new ArrayList<>(List.of("1", "key"));
        try (ResultSet types = meta.getTypeInfo()) {
            if (!types.next()) {
                throw new SQLException("getTypeInfo answers nothing");
            }
        }
        try (ResultSet schemas = meta.getSchemas(); ResultSet catalogs = meta.getCatalogs()) {
            if (!schemas.next() || !catalogs.next()) {
                throw new SQLException("getSchemas or getCatalogs answers nothing");
            }
        }
        try (ResultSet primary = meta.getPrimaryKeys(null, "public", table);
                ResultSet foreign = meta.getImportedKeys(null, "public", table);
                ResultSet indexes = meta.getIndexInfo(null, "public", table, false, true)) {
            for (ResultSet rows : Arrays.asList(primary, foreign, indexes)) {
                while (rows.next()) {
                    found.add("s" + rows.getString("TABLE_NAME"));
                }
            }
        }
        return found;
    }

    private static void bind(PreparedStatement statement, List<String> parameters) throws SQLException {
        for (int at = 0; at < parameters.size(); at++) {
            String text = parameters.get(at).substring(1);
            int index = at + 1;
            switch (parameters.get(at).charAt(0)) {
                case '-' -> statement.setNull(index, Types.NULL);
                case 'a' -> statement.setArray(index, array(statement.getConnection(), text));
                case 'x' -> statement.setBytes(index, Base64.getDecoder().decode(text));
                case 'z' -> statement.setObject(index, OffsetDateTime.parse(text));
                case 't' -> statement.setObject(index, LocalDateTime.parse(text));
                case 'd' -> statement.setObject(index, LocalDate.parse(text));
                case 'b' -> statement.setBoolean(index, text.equals("True"));
                case 'i' -> integer(statement, index, Long.parseLong(text));
                case 'f' -> statement.setDouble(index, Double.parseDouble(text));
                case 'n' -> statement.setBigDecimal(index, new BigDecimal(text));
                case 'u' -> statement.setObject(index, UUID.fromString(text));
                default -> statement.setString(index, text);
            }
        }
    }

    private static Array array(Connection connection, String text) throws SQLException {
        Object[] items = Arrays.stream(text.split(",")).map(Base64.getDecoder()::decode)
            .map(bytes -> new String(bytes, StandardCharsets.UTF_8)).toArray();
        return connection.createArrayOf("text", items);
    }

    private static void integer(PreparedStatement statement, int index, long value) throws SQLException {
        if (value == (int) value) {
            statement.setInt(index, (int) value);
        } else {
            statement.setLong(index, value);
        }
    }

    private static List<String> table(ResultSet rows, int count) throws SQLException {
        ResultSetMetaData meta = rows.getMetaData();
        int width = meta.getColumnCount();
        List<String> found = new ArrayList<>(List.of(String.valueOf(width)));
        for (int column = 1; column <= width; column++) {
            found.add(meta.getColumnLabel(column));
        }
        for (int read = 0; read < count && rows.next(); read++) {
            for (int column = 1; column <= width; column++) {
                found.add(cell(rows, column));
            }
        }
        return found;
    }

    private static String cell(ResultSet rows, int column) throws SQLException {
        String type = rows.getMetaData().getColumnTypeName(column);
        Object value = switch (type) {
            case "timestamptz" -> rows.getObject(column, OffsetDateTime.class);
            case "timestamp" -> rows.getObject(column, LocalDateTime.class);
            case "date" -> rows.getObject(column, LocalDate.class);
            default -> rows.getObject(column);
        };
        if (value == null) {
            return "-";
        }
        if (value instanceof byte[] bytes) {
            return "x" + base64(bytes);
        }
        if (value instanceof Array array) {
            List<String> items = new ArrayList<>();
            for (Object item : (Object[]) array.getArray()) {
                items.add(base64(String.valueOf(item).getBytes(StandardCharsets.UTF_8)));
            }
            return "a" + String.join(",", items);
        }
        char letter = 's';
        if (value instanceof Boolean) {
            letter = 'b';
        } else if (value instanceof Float || value instanceof Double) {
            letter = 'f';
        } else if (value instanceof BigDecimal) {
            letter = 'n';
        } else if (value instanceof Number) {
            letter = 'i';
        } else if (value instanceof UUID) {
            letter = 'u';
        } else if (value instanceof OffsetDateTime) {
            letter = 'z';
        } else if (value instanceof LocalDateTime) {
            letter = 't';
        } else if (value instanceof LocalDate) {
            letter = 'd';
        }
        return letter + value.toString();
    }
}
